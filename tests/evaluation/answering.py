"""A server of OpenAI's chat completions whose answers a test decides, and small tasks to ask it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image

from llava_serve.asked_server import AskedServer, open_server
from llava_serve.http import serving
from llava_serve.server_config import ServerConfig

MODEL = "tested"
FIELDS = {"model": MODEL, "temperature": 0, "max_tokens": 16}
Behaviour = Callable[[dict[str, Any]], Awaitable[str | Response]]


def events(text: str, *, logprob: float | None = -0.5) -> Response:
    """Return an answer of one token as a stream."""
    choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
    if logprob is not None:
        token = {"token": text, "logprob": logprob, "bytes": None, "top_logprobs": []}
        choice["logprobs"] = {"content": [token]}
    chunk = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": MODEL,
        "choices": [choice],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }
    text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    return Response(text, media_type="text/event-stream")


def refusal(status: int, code: str | None = None, **headers: str) -> Response:
    """Return an error answer."""
    error = {"message": f"said {code or status}", "code": code}
    return JSONResponse({"error": error}, status, headers)


def text_of(body: dict[str, Any]) -> str:
    """Return the text of the last message."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[-1]["text"])


async def repeat(body: dict[str, Any]) -> str | Response:
    return text_of(body)


@dataclass
class Answering:
    """The server's state: what it was asked, and how it answers."""

    behave: Behaviour = repeat
    slots: int | None = None
    models: list[str] = field(default_factory=lambda: [MODEL])
    asked: list[dict[str, Any]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    @property
    def texts(self) -> list[str]:
        return [text_of(body) for body in self.asked]

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/v1/models")
        async def models() -> Any:
            told = {} if self.slots is None else {"slots": self.slots}
            return {"data": [{"id": name, **told} for name in self.models]}

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            body = await request.json()
            self.asked.append(body)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                answer = await self.behave(body)
            finally:
                self.at_once -= 1
            return events(answer) if isinstance(answer, str) else answer

        return app

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        async with serving.served(self.app()) as address:
            yield address

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[AskedServer]:
        async with (
            self.served() as address,
            open_server(ServerConfig(controller=address)) as server,
        ):
            yield server


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def write_texts(path: Path, count: int) -> Path:
    """Write questions `q0`, `q1`, … without pictures, whose right answers are the same texts."""
    return write_lines(path, (text_line(number) for number in range(count)))


def text_line(number: int, **fields: Any) -> dict[str, Any]:
    text = f"q{number}"
    messages = [{"role": "user", "content": text}]
    return {"id": text, "messages": messages, "answer": text} | fields


def image_line(number: int, *images: str, **fields: Any) -> dict[str, Any]:
    shown = [{"type": "image", "image": image} for image in images]
    content = [*shown, {"type": "text", "text": f"q{number}"}]
    return {"id": f"q{number}", "messages": [{"role": "user", "content": content}]} | fields


def write_image(path: Path, size: tuple[int, int] = (8, 8), color: str = "red") -> Path:
    Image.new("RGB", size, color).save(path)
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
