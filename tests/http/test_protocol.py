"""Clients of HTTP/1.0 get no chunks, and bytes that are no HTTP get an error in our shape."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from uvicorn.server import ServerState

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.protocol import AnswerTransport, HttpProtocol
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker


class Recorder(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


CHAT = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "one two"}]}
LLAVA = {"model": "echo", "prompt": "one two"}


@pytest.fixture(params=["worker", "controller"])
async def address(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Return where a worker listens, or a controller before it."""
    engine = EchoEngine("echo")
    worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id="w")
    async with served(build_worker(worker, max_body_bytes=100_000)) as of_worker:
        if request.param == "worker":
            yield of_worker
            return
        registry = Registry(shortest_queue)
        status = WorkerStatus(model_names=["echo"], cards=[engine.card])
        registry.register(of_worker, status, 0.0, is_legacy=False, expires=False)
        app = build_controller(
            registry, AdmissionPolicy("token"), ControllerSettings(clock=lambda: 0.0)
        )
        async with served(app) as of_controller:
            yield of_controller


async def exchange(address: str, sent: bytes) -> tuple[str, dict[str, str], bytes]:
    """Return status line, headers and body as they came, up to the end of the connection."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    received = await reader.read()
    writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return status, headers, body


def post(path: str, content: object, version: str = "1.0") -> bytes:
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_a_stream_ends_with_the_connection(address: str) -> None:
    status, headers, body = await exchange(address, post("/v1/chat/completions", CHAT))
    assert status.split()[1] == "200"
    assert headers["connection"] == "close"
    assert not {"transfer-encoding", "content-length"} & set(headers)
    events = body.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: ") for event in events[:-1])


async def test_the_old_wire_ends_with_the_connection_too(address: str) -> None:
    _, headers, body = await exchange(address, post("/worker_generate_stream", LLAVA))
    assert "transfer-encoding" not in headers
    *chunks, rest = body.split(b"\0")
    assert rest == b""
    assert json.loads(chunks[-1]) == {"text": "one twoone two", "error_code": 0}


async def test_an_answer_of_known_length_tells_it(address: str) -> None:
    whole = {**CHAT, "stream": False}
    _, headers, body = await exchange(address, post("/v1/chat/completions", whole))
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body)["choices"][0]["message"]["content"] == "one two"


async def test_newer_clients_get_chunks_as_ever(address: str) -> None:
    _, headers, body = await exchange(address, post("/v1/chat/completions", CHAT, "1.1"))
    assert headers["transfer-encoding"] == "chunked"
    assert body.endswith(b"0\r\n\r\n")


async def test_bytes_that_are_no_http_get_an_error_in_our_shape(address: str) -> None:
    status, headers, body = await exchange(address, b"\x16\x03\x01 hello\r\n\r\n")
    assert status.split()[1] == "400"
    assert headers["content-type"] == "application/json"
    error = json.loads(body)["error"]
    assert error["code"] == "malformed_http"
    assert error["remedy"] and error["request_id"]


@asynccontextmanager
async def served_in_chunks(*chunks: bytes) -> AsyncIterator[str]:
    app = FastAPI()

    @app.get("/")
    async def stream() -> StreamingResponse:
        async def made() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        return StreamingResponse(made())

    async with served(app) as address:
        yield address


@pytest.mark.parametrize("chunks", [(), (b"",), (b"a", b"", b"bc")])
async def test_any_stream_comes_as_it_is(chunks: tuple[bytes, ...]) -> None:
    async with served_in_chunks(*chunks) as address:
        _, headers, body = await exchange(address, b"GET / HTTP/1.0\r\n\r\n")
    assert body == b"".join(chunks)
    assert "transfer-encoding" not in headers


@pytest.mark.parametrize(
    ("hosts", "version", "status"),
    [
        (0, "1.1", "400"),
        (1, "1.1", "200"),
        (2, "1.1", "400"),
        (0, "1.0", "200"),
    ],
)
async def test_a_request_of_http_1_1_has_one_host(
    address: str, hosts: int, version: str, status: str
) -> None:
    head = f"GET /health HTTP/{version}\r\n" + "Host: localhost\r\n" * hosts
    head += "Connection: close\r\n\r\n"
    line, _, body = await exchange(address, head.encode())
    assert line.split()[1] == status
    if status == "400":
        error = json.loads(body)["error"]
        assert (error["code"], f"has {hosts}" in error["message"]) == ("malformed_http", True)


async def test_a_short_answer_is_one_write() -> None:
    config = uvicorn.Config(PlainTextResponse("whole"), log_config=None)
    config.load()
    protocol = HttpProtocol(config, ServerState(), {})
    socket = Recorder()
    protocol.connection_made(socket)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.gather(*protocol.tasks)
    (answer,) = socket.written
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nwhole")
    protocol.connection_lost(None)


async def test_a_head_waits_for_no_body_that_is_not_there() -> None:
    socket = Recorder()
    answer = AnswerTransport(socket, asyncio.get_running_loop())
    answer.write(b"head")
    assert socket.written == []
    await asyncio.sleep(0)
    answer.write(b"first")
    answer.write(b"second")
    assert socket.written == [b"head", b"first", b"second"]


async def test_a_head_goes_before_a_large_body_and_before_the_end() -> None:
    large = bytes(100_000)
    socket, loop = Recorder(), asyncio.get_running_loop()
    answer = AnswerTransport(socket, loop)
    answer.write(b"head")
    answer.write(large)
    AnswerTransport(socket, loop).close()
    another = AnswerTransport(other := Recorder(), loop)
    another.write(b"head")
    another.close()
    assert (socket.written, other.written) == ([b"head", large], [b"head"])
    assert other.is_closing()
