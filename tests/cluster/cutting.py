"""Workers whose connections are cut in mid-answer, and what a client has of a stream then."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.base import Engine
from llava_serve.http.access import Access
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.cluster.conftest import TOKEN

ANSWERS = tuple(
    b"POST " + path
    for path in (b"/v1/chat/completions", b"/v1/completions", b"/worker_generate_stream")
)
# Takes the beginning of a request; returns after how many bytes of its body the answer is cut, or
# so many before the body where they are negative; None: not at all.
CutAfter = Callable[[bytes], int | None]


def never(_: bytes) -> None:
    """Leave every answer alone."""


class Cuts:
    """The bytes after which the next answers are cut, one after the other."""

    def __init__(self, *after: int | None) -> None:
        self.left = list(after)

    def __call__(self, _: bytes) -> int | None:
        return self.left.pop(0) if self.left else None


class CuttingProxy:
    """Passes bytes to a worker and back, and kills the connection of an answer where it is told."""

    def __init__(self, target: str, cut_after: CutAfter) -> None:
        host, port = target.removeprefix("http://").split(":")
        self._target = host, int(port)
        self._cut_after = cut_after
        self.cut = 0
        self.address = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"http://{host}:{port}"
        try:
            yield
        finally:
            server.close()  # connections that are open may end

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        down = _Side(reader, writer)
        up = _Side(*await asyncio.open_connection(*self._target))
        both = [
            asyncio.create_task(self._pass_requests(down, up)),
            asyncio.create_task(self._pass_answers(up, down)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task, side in zip(both, (down, up), strict=True):
            task.cancel()
            side.writer.close()  # as the kernel does for a process that was killed
        await asyncio.wait(both)

    async def _pass_requests(self, down: "_Side", up: "_Side") -> None:
        while data := await down.reader.read(65536):
            if data.startswith(ANSWERS):
                up.after, up.left = self._cut_after(data), None
            up.writer.write(data)

    async def _pass_answers(self, up: "_Side", down: "_Side") -> None:
        while data := await up.reader.read(65536):
            if up.after is not None:
                head, end, _ = data.partition(b"\r\n\r\n")
                up.left, up.after = max(1, len(head + end) + up.after), None
            if up.left is None:
                down.writer.write(data)
                continue
            down.writer.write(data[: up.left])
            up.left -= min(len(data), up.left)
            if not up.left:
                self.cut += 1
                return


@dataclass
class _Side:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    after: int | None = None  # bytes of the next answer's body until it is cut
    left: int | None = None  # of all that comes


def worker_of(engine: Engine, worker_id: str) -> ModelWorker:
    return ModelWorker(engine, Gate(8, 64), MediaReader(MediaConfig()), worker_id)


@asynccontextmanager
async def serving_cut(
    workers: Registry, worker: ModelWorker, cut_after: CutAfter = never, token: str = TOKEN
) -> AsyncIterator[CuttingProxy]:
    """Serve a worker behind a proxy that cuts its answers, in the registry of a controller."""
    app = build_app(worker, max_body_bytes=50_000_000, access=Access(token=token))
    async with served(app, grace_s=0.05) as address:
        proxy = CuttingProxy(address, cut_after)
        async with proxy.serving():
            status = worker.status(worker.engine.card)
            workers.register(proxy.address, status, time.monotonic(), expires=False)
            yield proxy


@dataclass
class Answer:
    """What a client of the native wire has read of a stream."""

    text: str = ""
    roles: int = 0
    ids: set[str] = field(default_factory=set)
    created: set[int] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    comments: list[str] = field(default_factory=list)
    ends: int = 0


def read(content: bytes) -> Answer:
    """Read all records of a stream."""
    answer = Answer()
    *records, rest = content.decode().split("\n\n")
    assert rest == ""
    for record in records:
        if record.startswith(":"):
            answer.comments.append(record)
        elif record == "data: [DONE]":
            answer.ends += 1
        else:
            _add(answer, json.loads(record.removeprefix("data: ")))
    return answer


def _add(answer: Answer, event: dict[str, Any]) -> None:
    if "error" in event:
        answer.error = event["error"]
        return
    answer.ids.add(event["id"])
    answer.created.add(event["created"])
    answer.usage = event.get("usage") or answer.usage
    for choice in event["choices"]:
        delta = choice.get("delta") or {}
        answer.text += delta.get("content") or choice.get("text") or ""
        answer.roles += "role" in delta
        answer.reasons += [choice["finish_reason"]] if choice.get("finish_reason") else []
