"""A judge that replays stored texts, over both protocols, to whoever shows its key."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from llava_serve.http import serving

DATA = Path(__file__).parent / "data"
KEY = "sk-judge"
MODEL = "judge-large"
_PROMPT = re.compile(
    r"\[Question\]\n(?P<question>.*?)\n\n\[(?P<role>\w+) 1\]\n(?P<first>.*?)\n\n\[End of "
    r"(?P=role) 1\]\n\n\[(?P=role) 2\]\n(?P<second>.*?)\n\n\[End of (?P=role) 2\]\n\n\[System\]\n",
    re.DOTALL,
)

Asked = tuple[str, str, str]
"""A question, and its answers in the order in which the judge reads them."""


def stored_texts(path: Path = DATA / "judge_texts.jsonl") -> dict[Asked, str]:
    lines = map(json.loads, path.read_text("utf-8").splitlines())
    return {(one["question"], *one["answers"]): one["text"] for one in lines}


@dataclass
class RecordedJudge:
    """`errors` are statuses to answer a request with before its text, the first one first.

    After `stuck_after` answers it gives none until it may `go_on`.
    """

    texts: dict[Asked, str] = field(default_factory=stored_texts)
    errors: dict[Asked, Sequence[int]] = field(default_factory=dict)
    asked: Counter[Asked] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    is_cut: bool = False
    stuck_after: int | None = None
    _goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    def go_on(self) -> None:
        self._goes_on.set()

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            shown = request.headers.get("authorization") == f"Bearer {KEY}"
            body = await request.json()
            text = await self._answer(body, body["messages"][1]["content"], is_known=shown)
            if isinstance(text, Response):
                return text
            return Response(_stream(text, self.is_cut), media_type="text/event-stream")

        @app.post("/v1/messages")
        async def answer(request: Request) -> Response:
            shown = request.headers.get("x-api-key") == KEY
            assert request.headers["anthropic-version"] == "2023-06-01"
            body = await request.json()
            text = await self._answer(body, body["messages"][0]["content"], is_known=shown)
            if isinstance(text, Response):
                return text
            content = [{"type": "text", "text": text}] if text else []
            reason = "max_tokens" if self.is_cut else "end_turn"
            message = {"id": "m", "type": "message", "role": "assistant", "content": content}
            return JSONResponse({**message, "model": MODEL, "stop_reason": reason, "usage": {}})

        return app

    async def _answer(
        self, body: dict[str, Any], content: Any, *, is_known: bool
    ) -> str | Response:
        self.bodies.append(body)
        if not is_known:
            return _error(401, "invalid x-api-key or bearer")
        if body["model"] != MODEL:
            return _error(404, f"there is no model {body['model']}")
        parts = [{"text": content}] if isinstance(content, str) else content
        found = _PROMPT.search(parts[-1]["text"])
        assert found is not None
        asked = (found["question"], found["first"], found["second"])
        before = self.asked[asked]
        self.asked[asked] += 1
        if self.stuck_after is not None and self.asked.total() > self.stuck_after:
            await self._goes_on.wait()
        errors = self.errors.get(asked, ())
        return _error(errors[before], "no") if before < len(errors) else self.texts[asked]

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        async with serving.served(self.app()) as address:
            yield address


def _error(status: int, message: str) -> Response:
    body = {"type": "error", "error": {"type": "some_error", "message": message}}
    return JSONResponse(body, status, {"Retry-After": "0"})


def _stream(text: str, is_cut: bool) -> str:
    head = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": MODEL}
    parts = [({"content": part}, None) for part in re.findall(r"[\s\S]{1,5}", text)]
    end = "length" if is_cut else "stop"
    choices = [
        {"index": 0, "delta": delta, "finish_reason": reason}
        for delta, reason in [*parts, ({}, end)]
    ]
    lines = [f"data: {json.dumps(head | {'choices': [one]})}\n\n" for one in choices]
    return "".join(lines) + "data: [DONE]\n\n"
