"""Who gets in: the token, the call back at the advertised address, and the trusted addresses."""

import asyncio
import time

import pytest

from tests.cluster.conftest import (
    BEARER,
    Cluster,
    StartController,
    StartRawWorker,
    StartWorker,
    register,
    status_of,
)

HERE = frozenset({"127.0.0.1"})


async def test_a_worker_with_the_token_joins(cluster: Cluster, start_worker: StartWorker) -> None:
    worker = await start_worker()
    assert (await register(cluster, worker)).status_code == 200
    assert [known.address for known in cluster.workers.known()] == [worker.address]


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "the-token"])
async def test_a_worker_without_the_token_is_refused(
    cluster: Cluster, start_worker: StartWorker, authorization: str
) -> None:
    answer = await register(cluster, await start_worker(), Authorization=authorization)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "registration_refused"
    assert "--cluster-token-file" in answer.json()["error"]["remedy"]
    assert cluster.workers.known() == []


async def test_a_worker_is_refused_at_an_address_where_another_one_answers(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    here, other = await start_worker(), await start_worker(model="other")
    here.address = other.address
    answer = await register(cluster, here)
    assert answer.status_code == 403
    assert (
        f"you advertised {other.address}; from here that is not you, but another worker, "
        "which serves other" in answer.json()["error"]["message"]
    )


async def test_a_worker_is_refused_at_an_address_where_nobody_answers(
    cluster: Cluster, start_worker: StartWorker, unused_tcp_port: int
) -> None:
    worker = await start_worker()
    worker.address = f"http://127.0.0.1:{unused_tcp_port}"
    answer = await register(cluster, worker)
    assert answer.status_code == 403
    assert f"you advertised {worker.address}; from here" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["w..w:1", f"{'w' * 64}:1", "[::1", "w:65536", "w:x"])
async def test_a_worker_is_refused_at_an_address_that_there_cannot_be(
    cluster: Cluster, start_worker: StartWorker, host: str
) -> None:
    worker = await start_worker()
    worker.address = f"http://{host}"
    answer = await register(cluster, worker)
    assert answer.status_code == 403
    assert f"you advertised {worker.address}; from here" in answer.json()["error"]["message"]


async def test_a_worker_is_refused_at_an_address_that_is_silent(
    start_controller: StartController, start_worker: StartWorker, start_raw_worker: StartRawWorker
) -> None:
    cluster = await start_controller(status_s=0.1)
    worker = await start_worker()
    worker.address = (await start_raw_worker(b"", then_silent=True)).address
    answer = await register(cluster, worker)
    assert answer.status_code == 403
    assert "no status within 0.1 s" in answer.json()["error"]["message"]


async def test_the_controller_calls_nobody_for_a_caller_without_the_token(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    await register(cluster, worker, Authorization="Bearer wrong")
    assert worker.status_calls == 0


@pytest.mark.parametrize("address", ["localhost:40000", "file:///etc/passwd", "http://a/path", ""])
async def test_an_address_is_scheme_host_and_port(cluster: Cluster, address: str) -> None:
    answer = await cluster.http.post(
        "/register_worker", json={"worker_name": address}, headers=BEARER
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "worker_name"


async def test_a_worker_of_no_speed_is_refused_with_the_reason(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    status = worker.status.model_dump() | {"speed": 0}
    body = {"worker_name": worker.address, "worker_status": status}
    answer = await cluster.http.post("/register_worker", json=body, headers=BEARER)
    assert answer.status_code == 400
    assert "worker_status.speed" in answer.json()["error"]["message"]


async def test_a_worker_with_the_token_must_show_its_id(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    body = {"worker_name": worker.address}
    answer = await cluster.http.post("/register_worker", json=body, headers=BEARER)
    assert answer.status_code == 403
    assert "worker_id is missing" in answer.json()["error"]["message"]


async def test_a_trusted_address_joins_without_the_token_as_a_worker_of_the_old_wire(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(HERE)
    await start_worker(cluster, is_legacy=True)
    assert (await cluster.http.post("/list_models")).json() == {"models": ["echo"]}
    (listed,) = (await cluster.http.get("/v1/models")).json()["data"]
    assert (listed["id"], listed["owned_by"]) == ("echo", "llava")
    assert "engine" not in listed  # nothing is known of it but its name


async def test_a_trusted_address_without_the_token_cannot_speak_for_a_proven_worker(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(HERE)
    worker = await start_worker(cluster)
    body = {"worker_name": worker.address, "queue_length": 99}
    for path in ("/register_worker", "/receive_heart_beat", "/deregister_worker"):
        answer = await cluster.http.post(path, json=body)
        assert answer.status_code == 403
        assert "belongs to a worker that joined" in answer.json()["error"]["message"]
    assert [known.queue_length for known in cluster.workers.known()] == [0]


async def test_trust_cannot_be_claimed_in_a_header(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(frozenset({"10.9.8.7"}))
    worker = await start_worker(is_legacy=True)
    forwarded = {"X-Forwarded-For": "10.9.8.7"}
    body = {"worker_name": worker.address}
    answer = await cluster.http.post("/register_worker", json=body, headers=forwarded)
    assert answer.status_code == 403


async def test_a_worker_that_leaves_is_gone(cluster: Cluster, start_worker: StartWorker) -> None:
    worker = await start_worker(cluster)
    body = {"worker_name": worker.address + "/"}
    answer = await cluster.http.post("/deregister_worker", json=body, headers=BEARER)
    assert answer.status_code == 200
    assert cluster.workers.known() == []


async def test_no_look_up_fails_during_refreshes(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    refreshes = [cluster.http.post("/refresh_all_workers") for _ in range(50)]
    look_ups = [cluster.http.post("/get_worker_address", json={"model": "echo"}) for _ in range(50)]
    mixed = [call for pair in zip(refreshes, look_ups, strict=True) for call in pair]
    answers = await asyncio.gather(*mixed)
    assert [answer.json() for answer in answers[1::2]] == [{"address": worker.address}] * 50


async def test_a_refresh_takes_out_who_does_not_answer_and_keeps_the_others(
    cluster: Cluster, start_worker: StartWorker, unused_tcp_port: int
) -> None:
    stays = await start_worker(cluster)
    gone = f"http://127.0.0.1:{unused_tcp_port}"
    cluster.workers.register(gone, status_of(), time.monotonic())
    await cluster.http.post("/refresh_all_workers")
    states = {w["address"]: w["state"] for w in (await cluster.http.get("/workers")).json()}
    assert states == {stays.address: "alive", gone: "unreachable"}
