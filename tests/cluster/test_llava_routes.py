"""The old wire, used exactly as LLaVA's own clients and workers use it."""

import json

import pytest
import requests
from anyio.to_thread import run_sync

from tests.cluster.conftest import (
    Cluster,
    EchoWorker,
    StartController,
    StartRawWorker,
    StartWorker,
    status_of,
)

HERE = frozenset({"127.0.0.1"})


@pytest.fixture
async def trusting(start_controller: StartController) -> Cluster:
    return await start_controller(HERE)


class OldClient:
    """Does what LLaVA's web server and worker do, with the library they use.

    Source: haotian-liu/LLaVA@c121f04, llava/serve/gradio_web_server.py and model_worker.py.
    """

    def __init__(self, controller: str) -> None:
        self._controller = controller

    def models(self) -> list[str]:
        assert self._post("/refresh_all_workers").status_code == 200
        models: list[str] = self._post("/list_models").json()["models"]
        return models

    def address_of(self, model: str) -> str:
        address: str = self._post("/get_worker_address", {"model": model}).json()["address"]
        return address

    def register(self, worker: str, status: dict[str, object]) -> int:
        data = {"worker_name": worker, "check_heart_beat": True, "worker_status": status}
        return self._post("/register_worker", data).status_code

    def heartbeat(self, worker: str, queue_length: int) -> bool:
        data = {"worker_name": worker, "queue_length": queue_length}
        exist: bool = self._post("/receive_heart_beat", data).json()["exist"]
        return exist

    def generate(self, model: str, prompt: str) -> list[dict[str, object]]:
        with requests.post(
            self._controller + "/worker_generate_stream",
            headers={"User-Agent": "LLaVA Client"},
            json={"model": model, "prompt": prompt, "max_new_tokens": 9, "stop": "</s>"},
            stream=True,
            timeout=30,
        ) as answer:
            lines = answer.iter_lines(decode_unicode=False, delimiter=b"\0")
            return [json.loads(line.decode()) for line in lines if line]

    def _post(self, path: str, data: object = None) -> requests.Response:
        return requests.post(self._controller + path, json=data, timeout=30)


async def test_a_llava_worker_registers_beats_and_answers(
    trusting: Cluster, start_worker: StartWorker
) -> None:
    client = OldClient(trusting.address)
    worker = await start_worker(is_legacy=True, model="llava-v1.5-7b")
    status = {"model_names": ["llava-v1.5-7b"], "speed": 1, "queue_length": 0}
    assert not await run_sync(client.heartbeat, worker.address, 0)
    assert await run_sync(client.register, worker.address, status) == 200
    assert await run_sync(client.heartbeat, worker.address, 2)
    assert await run_sync(client.models) == ["llava-v1.5-7b"]
    assert await run_sync(client.address_of, "llava-v1.5-7b") == worker.address
    chunks = await run_sync(client.generate, "llava-v1.5-7b", "a b ")
    assert chunks == [{"text": "a b a", "error_code": 0}, {"text": "a b a b", "error_code": 0}]


async def test_an_own_worker_answers_on_the_old_wire_too(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    chunks = await run_sync(OldClient(cluster.address).generate, "echo", "hi ")
    assert chunks == [{"text": "hi hi", "error_code": 0}]
    assert worker.seen[0].headers["x-request-id"].startswith("req-")


async def test_a_model_nobody_serves_has_an_empty_address_and_one_error_record(
    cluster: Cluster,
) -> None:
    client = OldClient(cluster.address)
    assert await run_sync(client.address_of, "echo") == ""
    (chunk,) = await run_sync(client.generate, "echo", "hi")
    assert chunk["error_code"] == 2
    assert "no live worker serves 'echo'" in str(chunk["text"])


async def test_a_refusal_of_the_worker_becomes_one_error_record(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    body = b'{"error": {"message": "the prompt is too long", "code": "x"}}'
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(body)
    cluster.workers.register(
        (await start_raw_worker(head + body)).address, status_of(), now=0, expires=False
    )
    (chunk,) = await run_sync(OldClient(cluster.address).generate, "echo", "hi")
    assert chunk["error_code"] == 1
    assert "the prompt is too long" in str(chunk["text"])


async def test_a_request_without_a_model_is_refused(cluster: Cluster) -> None:
    answer = await cluster.http.post("/worker_generate_stream", json={"prompt": "hi"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"


async def test_the_status_is_that_of_all_workers_as_one(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    for model in ("a", "b"):
        await start_worker(cluster, model=model, running=2)
    status = (await cluster.http.post("/worker_get_status")).json()
    assert status == {"model_names": ["a", "b"], "speed": 2, "queue_length": 4}


async def test_two_controllers_registered_with_each_other_do_not_go_in_circles(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    first, second = await start_controller(HERE), await start_controller(HERE)
    worker = EchoWorker(is_legacy=True)
    first.workers.register(
        "http://127.0.0.1:1", worker.status, now=0, is_legacy=True, expires=False
    )
    for here, there in ((second, first), (first, second)):
        answer = await here.http.post("/register_worker", json={"worker_name": there.address})
        assert answer.status_code == 200
    for cluster in (first, second):
        assert (await cluster.http.post("/refresh_all_workers")).status_code == 200
        assert (await cluster.http.post("/worker_get_status")).json()["model_names"] == ["echo"]
    (chunk,) = await run_sync(OldClient(first.address).generate, "echo", "hi")
    assert chunk["error_code"] == 2
    assert "in a circle" in str(chunk["text"])
