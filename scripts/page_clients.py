"""Clients of the page that are no browsers: they ask, read the transcript and look for news."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from scripts.page_tabs import Word
from scripts.stamped_worker import delay_ms, stamp

_NEWS_S = 2.0
_STAMP = re.compile(r"\b\d{7}\b")


class PageClient:
    """Does what a tab does while an answer comes, but shows nothing."""

    def __init__(self, session: aiohttp.ClientSession, config: dict[str, Any]) -> None:
        self.words: list[Word] = []
        self._session = session
        self._hash = secrets.token_hex(6)
        self._events = config["dependencies"]
        self._values = {one["id"]: one["props"].get("value") for one in config["components"]}
        self._ids = {one["props"].get("elem_id"): one["id"] for one in config["components"]}

    async def hold(self, question: str) -> None:
        """Ask, and note the words of the answer until it ends."""
        loads = [one for one in self._events if any(name == "load" for _, name in one["targets"])]
        await self._call(max(loads, key=lambda one: len(one["outputs"])))
        box, signal = self._ids["chat-composer"], self._ids["chat-signal"]
        submits = [one for one in self._events if [box, "submit"] in one["targets"]]
        self._values[box] = {"text": question, "files": []}
        told = await self._call(submits[0])
        conversation = json.loads(told[submits[0]["outputs"].index(signal)])["id"]
        async with asyncio.TaskGroup() as group:
            news = group.create_task(self._look_for_news(conversation))
            await self._read(conversation)
            news.cancel()

    async def _call(self, event: dict[str, Any]) -> list[Any]:
        data = [self._values[one] for one in event["inputs"]]
        body = {"fn_index": event["id"], "data": data, "session_hash": self._hash}
        async with self._session.post("/gradio_api/run/predict", json=body) as answer:
            answer.raise_for_status()
            told: list[Any] = (await answer.json())["data"]
        return told

    async def _read(self, conversation: str) -> None:
        asked = {"id": conversation, "have": []}
        async with self._session.post("/transcript", json=asked) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if line.startswith(b"data: "):
                    now, change = stamp(), json.loads(line.removeprefix(b"data: "))
                    fresh = _STAMP.findall(change.get("live", ("", "", ""))[2])
                    self.words += [(now, delay_ms(int(one), now)) for one in fresh]

    async def _look_for_news(self, conversation: str) -> None:
        while True:
            await asyncio.sleep(_NEWS_S)
            async with self._session.get("/news", params={"shown": conversation}) as answer:
                await answer.read()


@asynccontextmanager
async def page_clients(address: str, count: int, question: str) -> AsyncIterator[list[PageClient]]:
    """Let so many clients ask, one after the other, and leave with the block."""
    timeout, connector = aiohttp.ClientTimeout(), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        address, timeout=timeout, connector=connector, trust_env=False, read_bufsize=2**20
    ) as session:
        async with session.get("/config") as answer:
            config = await answer.json()
        clients = [PageClient(session, config) for _ in range(count)]
        tasks = []
        for one in clients:
            tasks.append(asyncio.create_task(one.hold(question)))
            await asyncio.sleep(0.05)
        yield clients
        failed = [one.exception() for one in tasks if one.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if failed:
            raise SystemExit(f"{len(failed)} clients of the page ended: {failed[0]!r}")
