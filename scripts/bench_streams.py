"""Paced streams: a worker that writes records at a steady rate, and a client that times them.

Run as a program it serves that worker. It speaks as much of HTTP and of the native wire as the
bench needs, at little cost of its own: what is measured is what lies between it and the client.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

import uvloop

MODEL = "paced"
RATE = 20  # records a second
_CARD = {
    "id": MODEL,
    "context_length": 100_000,
    "accepts_images": True,
    "accepts_video": True,
    "engine": "echo",
}
_WRITTEN = re.compile(rb"at (\d+) ")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n"


def worker_status(worker_id: str) -> dict[str, Any]:
    """Return what the worker says of itself; it takes any number of requests."""
    return {"model_names": [MODEL], "worker_id": worker_id, "capacity": 10**6, "cards": [_CARD]}


def chat(seconds: float = 0) -> dict[str, Any]:
    """Return the body of a request for a stream of so long, or for a short answer."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "one two three"}],
        "stream": seconds > 0,
        "max_tokens": max(1, round(seconds * RATE)),
    }


def _answer(kind: str, content: str) -> bytes:
    choice = {"index": 0, kind: {"role": "assistant", "content": content}, "finish_reason": None}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk" if kind == "delta" else "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [choice],
            "usage": None,
        }
    ).encode()


_CHUNK = _answer("delta", "at %d ")
_WHOLE = _answer("message", "one two three")


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    try:
        while head := (await reader.readuntil(b"\r\n\r\n")).lower():
            length = re.search(rb"content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if b"/v1/chat/completions" not in head.partition(b"\r\n")[0]:
                _write_whole(writer, json.dumps(worker_status("paced")).encode())
                continue
            asked = json.loads(body)
            if not asked.get("stream"):
                _write_whole(writer, _WHOLE)
                continue
            writer.write(_HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked"))
            began = time.monotonic()
            for at in range(asked["max_tokens"]):
                await asyncio.sleep(began + at / RATE - time.monotonic())
                record = b"data: " + _CHUNK % time.monotonic_ns() + b"\n\n"
                writer.write(b"%x\r\n%s\r\n" % (len(record), record))
            end = b"data: [DONE]\n\n"
            writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(end), end))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _write_whole(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(_HEAD % (b"application/json", b"Content-Length: %d" % len(body)) + body)


class StreamClient(asyncio.Protocol):
    """One stream: the delay of each record, in ms, from its being written to its arrival."""

    def __init__(self, request: bytes) -> None:
        self.delays_ms: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is a subclass in deed only
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Time what came."""
        now = time.monotonic_ns()
        data = self._rest + data
        end = 0
        for found in _WRITTEN.finditer(data):
            self.delays_ms.append((now - int(found[1])) / 1e6)
            end = found.end()
        self._rest = data[max(end, len(data) - 64) :]
        if b"[DONE]" in self._rest:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if not self.ended.done():
            self.ended.set_result(None)


async def time_streams(
    address: str, count: int, seconds: float, headers: dict[str, str]
) -> list[StreamClient]:
    """Open `count` streams, spread over a second, and return them once all are open."""
    host, port = address.removeprefix("http://").split(":")
    body = json.dumps(chat(seconds)).encode()
    lines = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in (lines | headers).items())
    request = f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + body
    loop, clients = asyncio.get_running_loop(), []
    for _ in range(count):
        _, client = await loop.create_connection(lambda: StreamClient(request), host, int(port))
        clients.append(client)
        await asyncio.sleep(1 / count)
    return clients


async def _main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=2000)
    async with server:
        await server.serve_forever()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    asked = parser.parse_args(argv)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_main(asked.port))
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
