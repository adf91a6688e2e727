"""The systems that are compared: our worker, `transformers serve`, and `generate` on threads."""

import asyncio
import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from scripts import without_video

_START_S = 300.0


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation: its questions, asked one after the other, maybe about a picture.

    No answer is longer than `tokens`; with `is_exact` each is exactly that long.
    """

    questions: tuple[str, ...]
    tokens: int
    image: Image.Image | None = None
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What it took to hold some chats: seconds for all, answers and their tokens."""

    seconds: float
    answers: int
    tokens: int


class System(Protocol):
    name: str

    def run(self, chats: Sequence[Chat], at_once: int) -> Run:
        """Hold all of `chats`, with never more than `at_once` under way."""
        ...


class Generate:
    """transformers' `generate`, one request a call, on one thread or on several."""

    def __init__(self, checkpoint: Path, dtype: torch.dtype) -> None:
        without_video.allow()
        self.name = "generate"
        self._threads = 1
        self._processor: Any = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            checkpoint
        )
        self._model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=dtype)

    def on_threads(self, threads: int) -> "Generate":
        """The same model, called from so many threads."""
        other = copy(self)
        other.name = f"generate on {threads} threads"
        other._threads = threads
        return other

    def run(self, chats: Sequence[Chat], at_once: int) -> Run:
        start = time.perf_counter()
        with ThreadPoolExecutor(min(self._threads, at_once)) as pool:
            tokens = sum(pool.map(self._hold, chats))
        return Run(time.perf_counter() - start, sum(len(c.questions) for c in chats), tokens)

    def _hold(self, chat: Chat) -> int:
        least = chat.tokens if chat.is_exact else None
        messages: list[dict[str, Any]] = []
        tokens = 0
        for question in chat.questions:
            picture = [{"type": "image"}] if chat.image and not messages else []
            messages.append({"role": "user", "content": [*picture, _text_part(question)]})
            prompt = self._processor.apply_chat_template(messages, add_generation_prompt=True)
            inputs = self._processor(text=prompt, images=chat.image, return_tensors="pt")
            with torch.inference_mode():
                output = self._model.generate(
                    **inputs, do_sample=False, max_new_tokens=chat.tokens, min_new_tokens=least
                )
            new = output[0, inputs["input_ids"].shape[1] :]
            tokens += len(new)
            said = self._processor.decode(new, skip_special_tokens=True)
            messages.append({"role": "assistant", "content": [_text_part(said)]})
        return tokens


def _text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


class Served:
    """A process that speaks OpenAI's wire at `address`."""

    def __init__(self, name: str, address: str, model: str, *, can_go_on: bool) -> None:
        """`can_go_on` says that it knows `ignore_eos`; without it few answers end early."""
        self.name = name
        self.address = address
        self._model = model
        self._can_go_on = can_go_on

    def run(self, chats: Sequence[Chat], at_once: int) -> Run:
        return asyncio.run(self._run(chats, at_once))

    async def _run(self, chats: Sequence[Chat], at_once: int) -> Run:
        limit = asyncio.Semaphore(at_once)
        opened = [(self.body(chat), chat.questions[1:]) for chat in chats]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session:

            async def held(body: dict[str, Any], questions: Sequence[str]) -> int:
                async with limit:
                    said = await self.answer(session, body)
                    tokens = int(said["usage"]["completion_tokens"])
                    for question in questions:
                        body["messages"] += [
                            said["choices"][0]["message"],
                            {"role": "user", "content": question},
                        ]
                        said = await self.answer(session, body)
                        tokens += int(said["usage"]["completion_tokens"])
                return tokens

            start = time.perf_counter()
            tokens = sum(await asyncio.gather(*(held(*chat) for chat in opened)))
            seconds = time.perf_counter() - start
        return Run(seconds, sum(len(chat.questions) for chat in chats), tokens)

    async def answer(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> dict[str, Any]:
        """Return a whole answer."""
        async with session.post(self._url, json=body) as answer:
            said: dict[str, Any] = await answer.json()
        if answer.status != 200:
            raise SystemExit(f"{self.name} answered {answer.status}: {said}")
        return said

    async def stream(
        self, session: aiohttp.ClientSession, body: dict[str, Any]
    ) -> AsyncGenerator[dict[str, Any]]:
        """Yield the chunks of an answer as they come."""
        async with session.post(self._url, json=body | {"stream": True}) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                data = line.decode().strip().removeprefix("data:").strip()
                if data.startswith("{"):
                    yield json.loads(data)

    def body(self, chat: Chat) -> dict[str, Any]:
        """What is posted for a chat's first question."""
        question = chat.questions[0]
        content: Any = question
        if chat.image is not None:
            content = [
                {"type": "image_url", "image_url": {"url": data_uri(chat.image)}},
                _text_part(question),
            ]
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": chat.tokens,
            "temperature": 0,
        } | ({"ignore_eos": True} if chat.is_exact and self._can_go_on else {})

    @property
    def _url(self) -> str:
        return f"{self.address}/v1/chat/completions"


def data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@contextmanager
def our_worker(checkpoint: Path, dtype: str, *flags: str) -> Iterator[tuple[Served, int]]:
    """Start a worker of our own; yields it and the number of its process."""
    port = free_port()
    command = [sys.executable, "-m", "llava_serve.model_worker", "--no-register"]
    command += ["--model-path", str(checkpoint), "--model-name", "bench", "--dtype", dtype]
    command += ["--log-level", "warning", "--port", str(port), *flags]
    with started(command, port) as pid:
        yield Served("ours", f"http://127.0.0.1:{port}", "bench", can_go_on=True), pid


@contextmanager
def transformers_serve(checkpoint: Path, dtype: str) -> Iterator[Served]:
    """Start `transformers serve`."""
    port = free_port()
    command = [sys.executable, str(Path(without_video.__file__)), str(checkpoint.resolve())]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", dtype, "--device", "cpu"]
    with started([*command, "--log-level", "error"], port):
        address, model = f"http://127.0.0.1:{port}", str(checkpoint.resolve())
        yield Served("transformers serve", address, model, can_go_on=False)


@contextmanager
def started(command: Sequence[str], port: int) -> Iterator[int]:
    """Run a server until it is no longer needed; yields its process's number once it listens."""
    log = Path(".runs") / f"bench_{port}.log"
    log.parent.mkdir(exist_ok=True)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + _START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} does not serve; its log is {log}")
            time.sleep(0.2)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)
    log.unlink()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
