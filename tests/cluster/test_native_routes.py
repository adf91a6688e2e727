"""The native wire through the controller: what goes in and what comes back is untouched."""

import asyncio
import json

import httpx
import pytest

from tests.cluster.conftest import BEARER, Cluster, StartController, StartWorker, chat

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


async def test_a_stream_comes_back_as_the_worker_wrote_it(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    await start_worker(cluster)
    answer = await cluster.http.post(CHAT, json=chat(stream=True))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.text == 'data: {"said": "one"}\n\ndata: {"said": "two"}\n\ndata: [DONE]\n\n'


async def test_each_piece_comes_when_the_worker_writes_it(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    worker.may_go_on.clear()
    async with cluster.http.stream("POST", CHAT, json=chat(stream=True)) as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b'data: {"said": "one"}\n\n'
        worker.may_go_on.set()
        rest = b"".join([chunk async for chunk in chunks])
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_an_answer_that_is_no_stream_comes_back_whole(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    await start_worker(cluster)
    answer = await cluster.http.post(CHAT, json=chat())
    assert answer.json() == {"said": ["one", "two"]}
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_the_worker_s_refusal_comes_back_with_status_and_headers(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    await start_worker(cluster)
    answer = await cluster.http.post(CHAT, json=chat("refuse", stream=True))
    assert (answer.status_code, answer.headers["x-why"]) == (418, "teapot")
    assert answer.json() == {"error": {"message": "no"}}


async def test_the_body_reaches_the_worker_byte_for_byte_and_keeps_its_request_id(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    body = b'{ "messages":[{"role":"user", "content":"caf\\u00e9"}],\n "model" : "echo"}'
    sent = JSON | {"X-Request-ID": "mine-1", "Authorization": "Bearer client-key"}
    answer = await cluster.http.post(CHAT, content=body, headers=sent)
    assert await worker.seen[0].body() == body
    assert worker.seen[0].headers["x-request-id"] == "mine-1"
    assert worker.seen[0].headers.getlist("authorization") == [BEARER["Authorization"]]
    assert answer.headers.get_list("x-request-id") == ["mine-1"]


async def test_a_proxy_for_the_web_is_not_asked_for_workers(
    cluster: Cluster,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    unused_tcp_port: int,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    await start_worker(cluster)
    assert (await cluster.http.post(CHAT, json=chat(stream=True))).status_code == 200


async def test_a_picture_of_many_megabytes_passes(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller()
    worker = await start_worker(cluster)
    url = "data:image/png;base64," + "iVBO" * 750_000
    picture = {"type": "image_url", "image_url": {"url": url}}
    asked = chat()
    asked["messages"].insert(0, {"role": "user", "content": [picture]})
    body = json.dumps(asked).encode()
    answer = await cluster.http.post(CHAT, content=body, headers=JSON)
    assert answer.status_code == 200
    assert len(await worker.seen[0].body()) == len(body)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "invalid_field", "body"),
        (b"[]", "invalid_field", "body"),
        (json.dumps(chat() | {"store": True}).encode(), "unsupported_field", "store"),
        (json.dumps(chat() | {"colour": 1}).encode(), "invalid_field", "colour"),
        (json.dumps(chat() | {"temperature": 3}).encode(), "invalid_field", "temperature"),
        (json.dumps(chat() | {"max_tokens": 10**400}).encode(), "invalid_field", "max_tokens"),
    ],
)
async def test_a_bad_request_never_reaches_a_worker(
    cluster: Cluster, start_worker: StartWorker, body: bytes, code: str, param: str
) -> None:
    worker = await start_worker(cluster)
    answer = await cluster.http.post(CHAT, content=body, headers=JSON)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, param)
    assert worker.seen == []


async def test_a_client_that_leaves_while_it_sends_its_request_is_no_bug(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    url = httpx.URL(cluster.address)
    _, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: left\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    writer.write(head.encode() + b"{")
    await writer.drain()
    await cluster.http.get("/health")  # the request has begun
    writer.close()
    await writer.wait_closed()
    await cluster.http.get("/health")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_the_models_are_the_workers_cards(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    await start_worker(cluster, model="org/one")
    await start_worker(cluster, model="two")
    listed = (await cluster.http.get("/v1/models")).json()
    assert [card["id"] for card in listed["data"]] == ["org/one", "two"]
    assert (await cluster.http.get("/v1/models/org/one")).json() == listed["data"][0]
    unknown = await cluster.http.get("/v1/models/three")
    assert unknown.status_code == 404
    assert "served: org/one, two" in unknown.json()["error"]["message"]


async def test_an_unknown_model_is_not_found_and_without_workers_all_are_unavailable(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    assert (await cluster.http.post(CHAT, json=chat())).status_code == 503
    await start_worker(cluster)
    answer = await cluster.http.post(CHAT, json=chat(model="llava"))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_two_workers_of_one_model_share_its_streams(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    workers = [await start_worker(cluster), await start_worker(cluster)]
    for worker in workers:
        worker.may_go_on.clear()
    async with (
        cluster.http.stream("POST", CHAT, json=chat(stream=True)),
        cluster.http.stream("POST", CHAT, json=chat(stream=True)),
    ):
        assert [worker.running for worker in workers] == [1, 1]
        for worker in workers:
            worker.may_go_on.set()


async def test_health_and_metrics_count_workers_and_outcomes(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    for text in ("hello", "refuse"):
        await cluster.http.post(CHAT, json=chat(text))
    await cluster.http.post(CHAT, json=chat(model="unknown"))
    assert (await cluster.http.get("/health")).json() == {"status": "ok", "workers": 1}
    shown = (await cluster.http.get("/metrics")).text
    for line in (
        "llava_controller_workers_alive 1.0",
        f'llava_controller_in_flight{{worker="{worker.address}"}} 0.0',
        'llava_controller_requests_total{outcome="ok",wire="native"} 1.0',
        'llava_controller_requests_total{outcome="refused",wire="native"} 1.0',
        'llava_controller_requests_total{outcome="model_not_found",wire="native"} 1.0',
    ):
        assert line in shown.splitlines()
