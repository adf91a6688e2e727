"""A server that answers as a real SGLang 0.5.23 was seen to, and can be told what to say next."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from llava_serve.http.serving import served

VOCABULARY = 1000
IMAGE = 3  # the id of `<image>`
TOOLS = 200  # what the template makes of them
MODEL_INFO = {
    "model_path": "org/llava-onevision-7b",
    "served_model_name": "org/llava-onevision-7b",
    "weight_version": "default",
    "preferred_sampling_params": None,
    "has_image_understanding": True,
    "architectures": ["LlavaOnevisionForConditionalGeneration"],
}
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 2,
    "prompt_tokens_details": {"cached_tokens": 4, "image_tokens": 5},
}


def chat_event(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {}, "logprobs": None, "finish_reason": None} | choice]}


CHAT_EVENTS = [
    chat_event(delta={"role": "assistant", "content": ""}),
    chat_event(delta={"content": "It is"}),
    chat_event(delta={"content": " red."}),
    chat_event(finish_reason="stop"),
    {"choices": [], "usage": USAGE},
]


@dataclass
class Recorded:
    """Tells `events` in its next streams.

    An `asyncio.Event` is waited for, an error raised, and bytes are sent as they are.
    """

    info: dict[str, Any] = field(default_factory=lambda: dict(MODEL_INFO))
    settings: dict[str, Any] = field(default_factory=lambda: {"version": "0.5.23"})
    is_warm: bool = True
    loses: int = 0  # characters at the end of a text to go on with
    servers: list[str] = field(default_factory=list)  # it is a router of these
    refusal: tuple[int, Any] | None = None
    events: list[Any] = field(default_factory=lambda: list(CHAT_EVENTS))
    asked: list[dict[str, Any]] = field(default_factory=list)
    tokenized: list[dict[str, Any]] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> FastAPI:
        app = FastAPI()
        app.get("/health")(lambda: Response(status_code=200 if self.is_warm else 503))
        app.get("/model_info")(lambda: self.info)
        app.get("/server_info")(lambda: self.settings)
        app.get("/v1/models")(
            lambda: {"data": [{"id": self.info["served_model_name"], "max_model_len": 2048}]}
        )
        if self.servers:
            app.get("/workers")(
                lambda: {"workers": [{"url": url, "is_healthy": True} for url in self.servers]}
            )
        rank = {"num_running_reqs": 2, "num_waiting_reqs": 1, "max_running_requests": 8}
        app.get("/v1/loads")(lambda: {"loads": [rank, rank]})

        @app.post("/v1/tokenize")
        async def tokenize(request: Request) -> dict[str, list[int]]:
            self.tokenized.append(await request.json())
            return {"tokens": _tokens(self.tokenized[-1])}

        @app.post("/v1/detokenize")
        async def detokenize(request: Request) -> dict[str, str]:
            """The prompt of what was tokenised last: the assistant's text ends it, or is lost."""
            tokens = (await request.json())["tokens"]
            if max(tokens) >= VOCABULARY:
                return {"text": ""}
            images = tokens.count(IMAGE)
            text = self.tokenized[-1]["messages"][-1]["content"]
            told = "<image>" * images + f"USER: x ASSISTANT: {text}"
            return {"text": told[: -self.loses or None]}

        @app.post("/abort_request")
        async def abort(request: Request) -> None:
            self.aborted.append((await request.json())["rid"])

        @app.post("/generate")
        @app.post("/v1/chat/completions")
        async def answer(request: Request) -> Response:
            self.asked.append(await request.json())
            self.was_asked.set()
            if self.refusal is not None:
                return JSONResponse(self.refusal[1], self.refusal[0])
            return StreamingResponse(self._stream(), media_type="text/event-stream")

        return app

    async def _stream(self) -> AsyncIterator[str | bytes]:
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            if isinstance(event, asyncio.Event):
                await event.wait()
            elif isinstance(event, bytes):
                yield event
            else:
                yield f"data: {json.dumps(event)}\n\n"
        yield "data: [DONE]\n\n"


def _tokens(asked: dict[str, Any]) -> list[int]:
    """One token for each part; the template loses images of anybody but the user."""
    if "prompt" in asked:
        return [IMAGE]
    tools = [TOOLS] if asked.get("tools") else []
    return tools + [
        IMAGE if part["type"] == "image_url" and message["role"] == "user" else 100
        for message in asked["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
    ]


Listening = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def listening() -> Listening:
    """Serve a recorded server, on a port that it can come back to."""

    @asynccontextmanager
    async def opened(recorded: Recorded, port: int = 0) -> AsyncIterator[str]:
        async with served(recorded.app(), port=port) as address:
            yield address

    return opened
