"""What every app of ours has: request ids, a body limit, errors as JSON, a stop that is told."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI, Request

from llava_serve import logs
from llava_serve.errors import Busy
from llava_serve.http import serving
from llava_serve.http.body import BodyLimits, read_json


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    serving.prepare(app, BodyLimits(max_bytes=2000, max_text_bytes=1000))

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, object]:
        return {"body": (await read_json(request))[0], "id": logs.request_id.get()}

    @app.get("/busy")
    async def busy() -> None:
        raise Busy(running=2, waiting=3, requested=1, capacity=5)

    @app.post("/typed")
    async def typed(body: dict[str, int]) -> None:
        """FastAPI itself reads this one's body."""

    @app.get("/full")
    async def full() -> None:
        raise MemoryError

    @app.get("/bug")
    async def bug() -> None:
        raise KeyError("secret")

    return app


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


async def test_a_request_keeps_the_id_it_came_with(http: httpx.AsyncClient) -> None:
    answer = await http.post("/echo", json={}, headers={"X-Request-ID": "abc-1"})
    assert answer.headers["x-request-id"] == answer.json()["id"] == "abc-1"


@pytest.mark.parametrize("given", [None, "two words", "x" * 200, "line\tbreak"])
async def test_a_missing_or_odd_id_is_replaced(http: httpx.AsyncClient, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    answer = await http.post("/echo", json={}, headers=headers)
    assert answer.headers["x-request-id"] == answer.json()["id"]
    assert answer.json()["id"].startswith("req-")


async def test_a_body_beyond_the_limit_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/echo", content=b"[" + b" " * 1000 + b"]")
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "text_too_large"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{} {}", b'"\\ud800"', b"NaN"])
async def test_a_body_that_is_not_json_is_refused(http: httpx.AsyncClient, content: bytes) -> None:
    answer = await http.post("/echo", content=content)
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["error"]["message"]


async def test_an_error_carries_cause_remedy_id_and_headers(http: httpx.AsyncClient) -> None:
    answer = await http.get("/busy")
    error = answer.json()["error"]
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert error["code"] == "busy"
    assert error["remedy"]
    assert error["request_id"] == answer.headers["x-request-id"]


async def test_a_bug_never_shows_its_inside_and_is_found_by_its_id(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.get("/bug", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "engine_failure"
    assert "secret" not in answer.text
    assert answer.json()["error"]["request_id"] == "abc-1"
    assert answer.headers["x-request-id"] == "abc-1"


async def test_the_traceback_of_a_bug_is_logged_under_its_request_s_id(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(logs.add_request_id)
    async with serving.served(app) as address, httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"{address}/bug", headers={"X-Request-ID": "abc-1"})
    (record,) = [record for record in caplog.records if record.exc_info]
    assert vars(record)["request_id"] == "abc-1"


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/echo", 405)])
async def test_a_route_that_is_not_served_is_an_error_like_any_other(
    http: httpx.AsyncClient, path: str, status: int
) -> None:
    answer = await http.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, "no_such_route")
    assert f"GET {path}" in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)


@pytest.mark.parametrize(
    ("content", "status", "code", "param"),
    [
        (b" " * 1001, 413, "text_too_large", None),
        (b"{", 400, "invalid_field", "body"),
        (b'{"size": "big"}', 400, "invalid_field", "size"),
    ],
)
async def test_a_body_that_fastapi_reads_is_refused_like_any_other(
    http: httpx.AsyncClient, content: bytes, status: int, code: str, param: str | None
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await http.post("/typed", content=content, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)


def test_an_app_that_cannot_start_ends_the_process_with_a_code(unused_tcp_port: int) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise RuntimeError("no start")
        yield

    with pytest.raises(SystemExit) as exit_:
        serving.run(FastAPI(lifespan=lifespan), "127.0.0.1", unused_tcp_port)
    assert exit_.value.code


async def test_a_stop_is_told_before_open_streams_end(app: FastAPI) -> None:
    told = asyncio.Event()

    async def before_stop() -> None:
        told.set()

    async with serving.served(app, before_stop) as address, httpx.AsyncClient() as client:
        assert (await client.post(f"{address}/echo", json=1)).json()["body"] == 1
        assert not told.is_set()
    assert told.is_set()


def test_a_taken_port_is_one_sentence(app: FastAPI) -> None:
    with serving.bind("127.0.0.1", 0) as taken, pytest.raises(SystemExit) as exit_:
        serving.run(app, "127.0.0.1", taken.getsockname()[1])
    assert "--port" in str(exit_.value)


async def test_a_process_without_memory_says_so_and_goes_on(http: httpx.AsyncClient) -> None:
    answer = await http.get("/full")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "out_of_memory"
    assert answer.headers["retry-after"]
    assert (await http.post("/echo", json=1)).status_code == 200


LOOKUPS = """
import asyncio, os, uvloop
from llava_serve.http import serving

async def main():
    await asyncio.get_running_loop().getaddrinfo("name.invalid", 80)

serving.allow_many_lookups()
try:
    uvloop.run(main())
except OSError:
    print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_names_that_hang_leave_threads_for_others() -> None:
    told = subprocess.run(
        [sys.executable, "-c", LOOKUPS], check=True, timeout=60, capture_output=True, text=True
    )
    assert int(told.stdout) > 60
