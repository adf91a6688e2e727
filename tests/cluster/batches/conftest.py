"""A controller with a store of files and one of batches, and clients of its keys."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from openai.types import Batch

from llava_serve.cluster.batches.batch_store import BatchStore
from tests.cluster.files.test_routes import make_file_store
from tests.cluster.keyed import Keyed, keyed_controller
from tests.until import bounded

CHAT = "/v1/chat/completions"


def line(number: int, text: str = "one two", url: str = CHAT, **body: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": text}]
    whole = {"model": "echo", "messages": said, **body}
    return {"custom_id": f"q-{number}", "method": "POST", "url": url, "body": whole}


def lines(count: int, **body: Any) -> list[dict[str, Any]]:
    return [line(number, **body) for number in range(1, count + 1)]


def jsonl(requests: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in requests)


@dataclass(frozen=True)
class Client:
    """The official client, and what a test does with it again and again."""

    openai: openai.AsyncOpenAI

    async def upload(self, content: bytes) -> str:
        kept = await self.openai.files.create(file=("in.jsonl", content), purpose="batch")
        return kept.id

    async def begin(self, requests: Iterable[Any], endpoint: Any = CHAT, **fields: Any) -> Batch:
        window: Any = fields.pop("completion_window", "24h")
        return await self.openai.batches.create(
            input_file_id=await self.upload(jsonl(requests)),
            endpoint=endpoint,
            completion_window=window,
            **fields,
        )

    async def reached(self, batch_id: str, *statuses: str) -> Batch:
        """Return a batch once it has a status."""
        async with bounded(f"a batch that is {' or '.join(statuses)}"):
            while True:
                batch = await self.openai.batches.retrieve(batch_id)
                if batch.status in statuses:
                    return batch

    async def results(self, file_id: str | None) -> list[dict[str, Any]]:
        if file_id is None:
            return []
        content = (await self.openai.files.content(file_id)).read()
        return [json.loads(each) for each in content.splitlines()]


@asynccontextmanager
async def batch_controller(folder: Path, **fields: Any) -> AsyncIterator[Keyed]:
    store = BatchStore(folder / "files" / "batches")
    fields = {"files": make_file_store(folder), "batches": store, **fields}
    async with keyed_controller(folder, **fields) as keyed:
        yield keyed


@asynccontextmanager
async def client_of(
    keyed: Keyed, name: str = "alice", api_key: str = "", **limits: Any
) -> AsyncIterator[Client]:
    api_key = api_key or await keyed.key(name, **limits)
    async with openai.AsyncOpenAI(
        base_url=f"{keyed.address}/v1", api_key=api_key, max_retries=0
    ) as client:
        yield Client(client)
