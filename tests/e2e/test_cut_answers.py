"""200 connections to workers are cut at random bytes, and no answer differs from the whole one."""

import asyncio
import base64
import io
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from llava_serve.checkpoints.load import load
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app
from llava_serve.cluster.forwarding.attempts import MOST_LOST
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.http.serving import served
from scripts.tiny.world import simple_image
from tests.cluster.conftest import TOKEN
from tests.cluster.cutting import CuttingProxy, read, serving_cut, worker_of

pytestmark = pytest.mark.slow

CUTS = 200
AT_ONCE = 4
CHAT, OLD = "/v1/chat/completions", "/worker_generate_stream"
# Of an answer's bytes: its first text, and the longest answer.
BYTES = {CHAT: (450, 3300), OLD: (100, 700)}


def png(shape: str, colour: str) -> str:
    file = io.BytesIO()
    simple_image(shape, colour, size=(96, 96)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def asked_natively(text: str, shape: str, colour: str, **fields: Any) -> dict[str, Any]:
    url = f"data:image/png;base64,{png(shape, colour)}"
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return {
        "model": "llava-tiny",
        "messages": [{"role": "user", "content": parts}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "max_tokens": 12,
        "ignore_eos": True,
    } | fields


def asked_as_llava_does(shape: str, colour: str) -> dict[str, Any]:
    return {
        "model": "llava-tiny",
        "prompt": "USER: <image>\nDescribe the picture. ASSISTANT:",
        "images": [png(shape, colour)],
        "temperature": 0,
        "max_new_tokens": 12,
    }


QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    (CHAT, asked_natively("Describe the picture.", "circle", "red")),
    (CHAT, asked_natively("What is it? é 日本", "square", "blue")),
    (CHAT, asked_natively("Which colour?", "triangle", "green", stop=["the circle", "W."])),
    (CHAT, asked_natively("Tell more.", "circle", "blue", temperature=1.0, seed=11)),
    (CHAT, asked_natively("Describe the picture.", "square", "red", repetition_penalty=1.2)),
    (OLD, asked_as_llava_does("circle", "red")),
    (OLD, asked_as_llava_does("square", "blue")),
]


@dataclass(frozen=True)
class Told:
    """What of an answer must not depend on who gave it."""

    text: str
    reasons: tuple[str, ...]
    tokens: tuple[int, int]

    @classmethod
    def of(cls, path: str, content: bytes) -> "Told":
        if path == OLD:
            chunks = [json.loads(chunk) for chunk in content.split(b"\0")[:-1]]
            assert not any(chunk["error_code"] for chunk in chunks), chunks[-1]
            return cls(chunks[-1]["text"], (), (0, 0))
        answer = read(content)
        assert (answer.error, answer.roles, answer.ends) == (None, 1, 1)
        assert (len(answer.ids), len(answer.created)) == (1, 1)
        usage = answer.usage or {}
        tokens = usage["prompt_tokens"], usage["completion_tokens"]
        return cls(answer.text, tuple(answer.reasons), tokens)


class RandomCuts:
    """Cuts most answers somewhere, once it `is_on`, and few before their first text.

    One answer is cut so often that it is not yet taken for what workers die of.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._random = random.Random(20)
        self._cut: Counter[bytes] = Counter()  # by the request's id

    def __call__(self, request: bytes) -> int | None:
        if not self.is_on or self._random.random() < 0.3:
            return None
        request_id = request.partition(b"X-Request-ID: ")[2].partition(b"\r")[0]
        self._cut[request_id] += 1
        if self._cut[request_id] >= MOST_LOST:
            return None
        head, most = BYTES[CHAT if CHAT.encode() in request[:100] else OLD]
        if self._random.random() < 0.03:
            return self._random.randrange(-200, head)
        return self._random.randrange(head, most)


@dataclass
class CutCluster:
    http: httpx.AsyncClient
    cuts: RandomCuts
    proxies: list[CuttingProxy]

    @property
    def cut(self) -> int:
        return sum(proxy.cut for proxy in self.proxies)

    async def ask(self, path: str, body: dict[str, Any]) -> Told:
        return Told.of(path, (await self.http.post(path, json=body)).content)


@pytest.fixture
async def cluster() -> AsyncIterator[CutCluster]:
    """A controller and more workers than can be cut at once, of one engine, behind proxies."""
    loaded = load(ModelConfig(device="cpu"))
    engine = TorchEngine(loaded, choose_budget(loaded, slots=AT_ONCE))
    workers = Registry(shortest_queue)
    app = build_app(workers, AdmissionPolicy(TOKEN))
    cuts = RandomCuts()
    async with (
        served(app) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http,
        AsyncExitStack() as stack,
    ):
        proxies = [
            await stack.enter_async_context(serving_cut(workers, worker_of(engine, f"w{at}"), cuts))
            for at in range(AT_ONCE + 2)
        ]
        yield CutCluster(http, cuts, proxies)
    await asyncio.to_thread(engine.close)


async def test_no_answer_shows_that_its_worker_was_cut_off(
    cluster: CutCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [await cluster.ask(path, body) for path, body in QUESTIONS]
    cluster.cuts.is_on = True
    numbers = itertools.count()
    wrong: list[tuple[Told, Told]] = []
    answered = 0

    async def go_on_asking() -> None:
        nonlocal answered
        while cluster.cut < CUTS:
            number = next(numbers) % len(QUESTIONS)
            told = await cluster.ask(*QUESTIONS[number])
            answered += 1
            if told != whole[number]:
                wrong.append((whole[number], told))

    await asyncio.gather(*(go_on_asking() for _ in range(AT_ONCE)))
    with capsys.disabled():  # the numbers are the point, and not for failures only
        sys.stdout.write(f"\n{answered} answers, {cluster.cut} cuts: {len(wrong)} differ\n")
    assert wrong == []
