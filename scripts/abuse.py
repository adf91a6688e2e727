"""Abuse of a running stack, as scanners, broken clients and bad people commit it, all at once.

    python -m scripts.abuse http://127.0.0.1:10000 http://127.0.0.1:40000 --source 127.0.0.2

Each kind of abuse runs until the time is over, against every address; what it was answered is
counted and printed. A stack that is well neither dies nor grows of it.
"""

import argparse
import asyncio
import base64
import io
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

_TEXT_BYTES = 45_000_000
_BODY_BYTES = 45_000_000
_HALF_HEADS = 1000
_SIDE = 7000  # 49 megapixels, of one colour: 0.2 MB as a file
_CHAT, _LLAVA = "/v1/chat/completions", "/worker_generate_stream"

Outcomes = Counter[str]


class Target:
    """One server; every call opens a connection of its own, from the IP address `source`."""

    def __init__(self, address: str, source: str | None) -> None:
        split = urlsplit(address)
        self._source = None if source is None else (source, 0)
        self._host, self._port = split.hostname or "localhost", split.port or 80

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, local_addr=self._source)

    async def post(self, path: str, body: bytes) -> str:
        """Send a request; return the status of the answer."""
        reader, writer = await self.connect()
        try:
            writer.write(_head(path, len(body)) + body)  # the answer may come before all is sent
            line = await reader.readline()
            return line.decode("latin-1").partition(" ")[2].strip() or "closed"
        finally:
            writer.close()


Abuse = Callable[[Target], Awaitable[str]]


def _head(path: str, length: int) -> bytes:
    lines = f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"
    return "\r\n".join((*lines, f"Content-Length: {length}", "", "")).encode()


def posting(path: str, body: dict[str, Any]) -> Abuse:
    """Send one and the same body, which is made once."""
    encoded = json.dumps(body).encode()

    async def post(target: Target) -> str:
        return await target.post(path, encoded)

    return post


def asking(model: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": content}]}


def bomb(kind: str) -> dict[str, Any]:
    """Return a picture of very many pixels in a small file."""
    file = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), "teal").save(file, kind)
    encoded = base64.b64encode(file.getvalue()).decode()
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/{kind.lower()};base64,{encoded}"},
    }


async def half_heads(target: Target) -> str:
    """Open very many connections with half a head each, and hold them for a while."""
    held = []
    try:
        for _ in range(_HALF_HEADS):
            _, writer = await target.connect()
            held.append(writer)
            writer.write(b"GET / HTTP/1.1\r\nX-Half:")
            await asyncio.sleep(0)
        await asyncio.sleep(2)
        return f"{_HALF_HEADS} opened"
    finally:
        for writer in held:
            writer.close()


async def half_bodies(target: Target) -> str:
    reader, writer = await target.connect()
    try:
        writer.write(_head(_CHAT, _BODY_BYTES) + b"[" * (_BODY_BYTES // 2))
        return (await reader.readline()).decode("latin-1").partition(" ")[2].strip() or "closed"
    finally:
        writer.close()


async def whole_heads(target: Target) -> str:
    """Hold a connection with a whole head whose body never begins."""
    reader, writer = await target.connect()
    try:
        writer.write(_head(_CHAT, 1000))
        return (await reader.readline()).decode("latin-1").partition(" ")[2].strip() or "closed"
    finally:
        writer.close()


def abuses(model: str) -> list[tuple[str, Abuse, int]]:
    """Return each kind with its name, and how many of it run at once."""
    text = asking(model, {"type": "text", "text": "a" * _TEXT_BYTES})
    prompt = {"model": model, "prompt": "word " * (_TEXT_BYTES // 5)}
    return [
        ("texts of 45 MB", posting(_CHAT, text), 2),
        ("prompts of 45 MB", posting(_LLAVA, prompt), 2),
        ("JPEGs of 49 megapixels", posting(_CHAT, asking(model, bomb("JPEG"))), 4),
        ("PNGs of 49 megapixels", posting(_CHAT, asking(model, bomb("PNG"))), 4),
        ("1000 half heads", half_heads, 1),
        ("half bodies of 45 MB", half_bodies, 8),
        ("bodies that never begin", whole_heads, 500),
    ]


async def _again_and_again(name: str, abuse: Abuse, target: Target, outcomes: Outcomes) -> None:
    while True:
        try:
            outcome = await abuse(target)
        except OSError as exc:
            outcome = exc.strerror or type(exc).__name__
        outcomes[f"{name}: {outcome}"] += 1
        await asyncio.sleep(0.2)


async def commit(targets: Sequence[Target], model: str, seconds: float) -> Outcomes:
    """Abuse every target in every way at once; return what came of it."""
    outcomes: Outcomes = Counter()
    tasks = [
        asyncio.create_task(_again_and_again(name, abuse, target, outcomes))
        for name, abuse, count in abuses(model)
        for target in targets
        for _ in range(count)
    ]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("addresses", nargs="+", help="http://host:port of servers of your own")
    parser.add_argument("--model", default="llava-tiny", help="a model they serve")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long")
    parser.add_argument("--source", help="IP address of this machine that connections come from")
    args = parser.parse_args()
    targets = [Target(address, args.source) for address in args.addresses]
    outcomes = asyncio.run(commit(targets, args.model, args.seconds))
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:6}  {outcome}")  # noqa: T201 - what this command is for


if __name__ == "__main__":
    main()
