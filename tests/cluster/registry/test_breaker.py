"""A worker's breaker opens with a failure, lets one request try the worker, and closes again."""

import json
import time

from llava_serve.cluster.registry.breaker import CLOSED, BreakerState
from llava_serve.cluster.registry.dispatch import DispatchRequest, shortest_queue
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from tests.cluster.conftest import BEARER, Cluster, StartWorker, chat, status_of

A, B = "http://a:1", "http://b:1"
ECHO = DispatchRequest(model="echo")


def state_of(workers: Registry, address: str = A) -> str:
    (worker,) = (each for each in workers.known() if each.address == address)
    return worker.breaker.state.value


def two_workers() -> tuple[Registry, RegisteredWorker]:
    """Return a registry in which A has less to do than B, and A."""
    workers = Registry(shortest_queue, expiry_s=1000)
    workers.register(A, status_of(), now=0)
    workers.register(B, status_of(queue_length=9), now=0)
    return workers, workers.known()[0]


def test_a_breaker_goes_through_all_its_states() -> None:
    breaker = CLOSED
    breaker = breaker.fail(now=100)
    assert (breaker.state, breaker.failures, breaker.open_s) == (BreakerState.OPEN, 1, 0)
    breaker = breaker.live(now=100)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker = breaker.fail(now=101)
    assert (breaker.state, breaker.failures, breaker.open_s) == (BreakerState.OPEN, 2, 0.5)
    assert breaker.live(now=101.4).state is BreakerState.OPEN
    breaker = breaker.live(now=101.5)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.live(now=999) == breaker  # only the answer to a request closes it


def test_a_breaker_stays_open_longer_with_each_failure_in_a_row() -> None:
    breaker, open_s = CLOSED, []
    for _ in range(8):
        breaker = breaker.fail(now=0)
        open_s.append(breaker.open_s)
        breaker = breaker.live(now=breaker.open_s)
    assert open_s == [0, 0.5, 1, 2, 4, 8, 15, 15]
    assert breaker.fail(now=60).open_s == 0  # nothing to do with the last one


def test_requests_that_break_off_together_are_one_failure() -> None:
    breaker = CLOSED.fail(now=0)
    assert breaker.fail(now=0.1) == breaker


def test_a_silent_worker_is_out_without_a_failure() -> None:
    missed = CLOSED.miss()
    assert (missed.state, missed.failures) == (BreakerState.OPEN, 0)
    assert missed.live(now=0).state is BreakerState.CLOSED


def test_one_request_at_a_time_tries_a_half_open_worker() -> None:
    workers, a = two_workers()
    workers.record_failure(a, now=1)
    with workers.dispatch(ECHO, 1) as worker:
        assert worker.address == B  # open: nobody is sent there
    workers.heartbeat(A, queue_length=0, now=2)
    assert state_of(workers) == "half_open"
    with workers.dispatch(ECHO, 2) as trial, workers.dispatch(ECHO, 2) as other:
        assert (trial.address, other.address) == (A, B)
        workers.record_answer(trial)
        with workers.dispatch(ECHO, 2) as third:
            assert (state_of(workers), third.address) == ("closed", A)


def test_a_trial_that_says_nothing_makes_room_for_the_next() -> None:
    workers, a = two_workers()
    workers.record_failure(a, now=1)
    workers.heartbeat(A, queue_length=0, now=2)
    for _ in range(2):  # as when its client leaves
        with workers.dispatch(ECHO, 2) as worker:
            assert worker.address == A


def test_a_trial_that_fails_opens_the_breaker_for_longer() -> None:
    workers, a = two_workers()
    for failures, now in ((1, 1.0), (2, 2.0)):
        assert workers.record_failure(a, now).failures == failures
        workers.heartbeat(A, queue_length=0, now=now)
    assert state_of(workers) == "open"
    workers.heartbeat(A, queue_length=0, now=2.5)
    assert state_of(workers) == "half_open"


def test_the_only_worker_is_tried_by_all() -> None:
    workers, a = two_workers()
    workers.deregister(B)
    workers.record_failure(a, now=1)
    workers.heartbeat(A, queue_length=0, now=2)
    with workers.dispatch(ECHO, 2) as one, workers.dispatch(ECHO, 2) as two:
        assert (one.address, two.address) == (A, A)


def test_a_new_process_is_tried_at_once_and_keeps_the_failures_of_the_last() -> None:
    workers, a = two_workers()
    for now in (1, 2, 3):
        workers.record_failure(a, now)
        workers.register(A, status_of(worker_id=str(now)), now)
        a = next(each for each in workers.known() if each.address == A)
    assert (a.breaker.state, a.breaker.failures) == (BreakerState.HALF_OPEN, 3)


async def test_workers_and_metrics_show_the_breaker(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    metric = 'llava_controller_breaker{{state="{}",worker="{}"}} 1.0'
    for state in ("closed", "half_open", "open"):
        if state != "closed":
            cluster.workers.record_failure(cluster.workers.known()[0], now=0)
        if state == "half_open":
            cluster.workers.heartbeat(worker.address, 0, now=0)
        listed = (await cluster.http.get("/workers", headers=BEARER)).json()
        assert [each["breaker"] for each in listed] == [state]
        assert metric.format(state, worker.address) in (await cluster.http.get("/metrics")).text


async def test_the_answer_to_a_request_closes_the_breaker(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    now = time.monotonic()
    cluster.workers.record_failure(cluster.workers.known()[0], now)
    cluster.workers.heartbeat(worker.address, 0, now)
    worker.may_go_on.clear()
    async with cluster.http.stream(
        "POST", "/v1/chat/completions", json=chat(stream=True)
    ) as answer:
        assert json.loads((await anext(answer.aiter_lines())).removeprefix("data: "))
        assert state_of(cluster.workers, worker.address) == "closed"
        worker.may_go_on.set()
