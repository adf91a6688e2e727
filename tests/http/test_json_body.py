"""What is no JSON, or none that can be read, is refused in one way by every route of every app."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.json_body import decode
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.error_shape import OLLAMA_PATH
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker

UNREADABLE = {
    "cut": b"{",
    "nested": b"[" * 2000,
    "nested whole": b'{"model":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "digits": b'{"model":' + b"1" * 5000 + b"}",
    "fraction": b'{"model":' + b"1" * 5000 + b".5}",
    "not UTF-8": b'{"model":"\xff"}',
    "half a pair": b'{"model":"\\ud800"}',
    "UTF-16": '{"model":"m"}'.encode("utf-16"),
    "no number": b'{"model":NaN}',
    "empty": b" ",
}
TAKES_NO_BODY = {
    *("/list_models", "/worker_get_status", "/refresh_all_workers"),
    *("/admin/workers/{worker_id}/drain", "/admin/workers/{worker_id}/undrain"),
}


def apps() -> dict[str, FastAPI]:
    worker = ModelWorker(EchoEngine("echo"), Gate(2, 2), MediaReader(MediaConfig()), worker_id="w")
    controller = build_controller(Registry(shortest_queue), AdmissionPolicy("token"))
    return {"controller": controller, "worker": build_worker(worker, max_body_bytes=100_000)}


def routes_of(app: FastAPI) -> Iterator[str]:
    for path, operations in app.openapi()["paths"].items():
        if "post" in operations and path not in TAKES_NO_BODY:
            yield path


ROUTES = [(name, path) for name, app in apps().items() for path in routes_of(app)]


@pytest.fixture
async def clients() -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        opened = {}
        for name, app in apps().items():
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
            opened[name] = await stack.enter_async_context(client)
        yield opened


def test_all_routes_with_a_body_are_walked() -> None:
    paths = [path for _, path in ROUTES]
    assert paths.count("/v1/chat/completions") == paths.count("/worker_generate_stream") == 2
    assert {"/get_worker_address", "/register_worker", "/receive_heart_beat"} <= set(paths)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize(("name", "path"), ROUTES)
async def test_a_body_that_cannot_be_read_is_an_error_in_our_shape(
    clients: dict[str, httpx.AsyncClient], name: str, path: str, body: bytes
) -> None:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer token"}
    answer = await clients[name].post(path, content=body, headers=headers)
    assert answer.status_code == 400
    if path.startswith(OLLAMA_PATH):  # whose errors are a text
        assert "not JSON" in answer.json()["error"]
        return
    error = {**answer.json(), **answer.json()["error"]}  # where other protocols have the id
    assert (error["code"], error["param"]) == ("invalid_field", "body")
    assert (error["type"], error["request_id"]) == (
        "invalid_request_error",
        answer.headers["x-request-id"],
    )
    assert "not JSON" in error["message"]


@pytest.mark.parametrize("text", ['{"a": "ü"}', "[1, 2.5, null]"])
def test_a_byte_order_mark_is_no_part_of_the_json(text: str) -> None:
    assert decode(b"\xef\xbb\xbf" + text.encode()) == decode(text.encode())


async def test_a_request_with_a_byte_order_mark_is_answered(
    clients: dict[str, httpx.AsyncClient],
) -> None:
    body = '{"model":"echo","messages":[{"role":"user","content":"hi"}]}'
    headers = {"Content-Type": "application/json"}
    answer = await clients["worker"].post(
        "/v1/chat/completions", content=body.encode("utf-8-sig"), headers=headers
    )
    assert answer.json()["choices"][0]["message"]["content"] == "hi"
