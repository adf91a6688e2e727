"""Leases, places and counts: no sleep, because time is an argument."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pydantic import ValidationError

from llava_serve.cluster.registry.dispatch import DispatchRequest, round_robin, shortest_queue
from llava_serve.cluster.registry.model_list import cards_of, names_of
from llava_serve.cluster.registry.registry import Registry
from llava_serve.errors import InvalidField, ModelNotFound, NoWorker, RegistrationRefused
from llava_serve.protocol.cluster import WorkerStatus
from tests.cluster.conftest import status_of

A, B = "http://a:1", "http://b:1"


@pytest.fixture
def workers() -> Registry:
    return Registry(shortest_queue, expiry_s=45)


@pytest.fixture
def open_streams() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pick(workers: Registry, model: str = "echo", now: float = 0.0) -> str:
    with workers.dispatch(DispatchRequest(model=model), now) as worker:
        return worker.address


def queue_lengths(workers: Registry) -> dict[str, int]:
    return {worker.address: worker.queue_length for worker in workers.known()}


def test_a_registered_worker_gets_the_request(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    assert pick(workers) == A


def test_two_workers_with_the_same_model_share_its_load(
    workers: Registry, open_streams: ExitStack
) -> None:
    workers.register(A, status_of(), now=0)
    workers.register(B, status_of(), now=0)
    for _ in range(10):
        open_streams.enter_context(workers.dispatch(DispatchRequest(model="echo"), 0))
    assert queue_lengths(workers) == {A: 5, B: 5}


def test_a_request_counts_as_the_answers_that_its_worker_makes_at_once(workers: Registry) -> None:
    workers.register(A, status_of(capacity=4), now=0)
    with workers.dispatch(DispatchRequest(model="echo", answers=3), 0):
        assert queue_lengths(workers) == {A: 3}
        with workers.dispatch(DispatchRequest(model="echo", answers=16), 0):
            workers.heartbeat(A, queue_length=7, now=1)
            assert queue_lengths(workers) == {A: 7}
    assert queue_lengths(workers) == {A: 0}


def test_an_entry_that_is_held_tells_its_load_as_it_is(workers: Registry) -> None:
    workers.register(A, status_of(queue_length=2), now=0)
    held = workers.known()[0]
    with workers.dispatch(DispatchRequest(model="echo"), 0):
        assert (held.in_flight, held.queue_length) == (1, 3)
        workers.count_elsewhere({A: 4})
    assert (held.in_flight, held.elsewhere, held.queue_length) == (0, 4, 6)


def test_a_request_is_uncounted_however_it_ends(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    with pytest.raises(RuntimeError), workers.dispatch(DispatchRequest(model="echo"), 0):
        assert queue_lengths(workers) == {A: 1}
        raise RuntimeError
    assert queue_lengths(workers) == {A: 0}


def test_a_silent_worker_is_forgotten(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    assert pick(workers, now=45) == A
    with pytest.raises(NoWorker):
        pick(workers, now=45.1)
    assert names_of(workers.alive(now=45.1)) == []


def test_a_worker_that_is_silent_for_many_leases_is_forgotten_when_others_report(
    workers: Registry,
) -> None:
    workers.register(A, status_of(worker_id="a"), now=0)
    workers.register(B, status_of(worker_id="b"), now=0)
    for now in (20 * 45, 21 * 45 + 1):
        assert [worker.address for worker in workers.known()] == [A, B]
        workers.heartbeat(B, queue_length=0, now=now)
    assert [worker.address for worker in workers.known()] == [B]


def test_a_beat_renews_the_lease(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    assert workers.heartbeat(A, queue_length=0, now=40)
    assert pick(workers, now=80) == A


def test_an_unknown_worker_is_told_to_register(workers: Registry) -> None:
    assert not workers.heartbeat(A, queue_length=0, now=0)


def test_a_worker_without_heart_beats_does_not_expire(workers: Registry) -> None:
    workers.register(A, status_of(), now=0, expires=False)
    assert pick(workers, now=1e6) == A


def test_a_beat_counts_what_others_sent_and_keeps_our_own_count(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    with workers.dispatch(DispatchRequest(model="echo"), 0):
        workers.heartbeat(A, queue_length=4, now=1)
        assert queue_lengths(workers) == {A: 4}
        workers.heartbeat(A, queue_length=0, now=2)  # our request is on its way to the worker
        assert queue_lengths(workers) == {A: 1}
    assert queue_lengths(workers) == {A: 0}


def test_look_ups_are_spread_and_are_no_load(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    workers.register(B, status_of(queue_length=10), now=0)
    named = Counter(workers.address_of("echo", now=0) for _ in range(210))
    assert named == {A: 110, B: 100}
    assert queue_lengths(workers) == {A: 0, B: 10}
    workers.heartbeat(A, queue_length=0, now=1)
    assert {workers.address_of("echo", now=1) for _ in range(5)} == {A}


def test_look_ups_between_requests_take_nobody_s_turn() -> None:
    workers = Registry(round_robin)
    for address in (A, B):
        workers.register(address, status_of(), now=0)
    asked = []
    for _ in range(4):
        asked.append(pick(workers))
        workers.address_of("echo", now=0)
    assert asked == [A, B, A, B]


def test_a_lost_worker_is_out_until_it_beats(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    with workers.dispatch(DispatchRequest(model="echo"), 0) as worker:
        workers.mark_unreachable(worker)
    assert names_of(workers.alive(now=0)) == []
    with pytest.raises(NoWorker):
        pick(workers)
    workers.heartbeat(A, queue_length=0, now=1)
    assert pick(workers, now=1) == A


def test_a_worker_is_not_blamed_for_its_predecessor(workers: Registry) -> None:
    workers.register(A, status_of(worker_id="old"), now=0)
    with workers.dispatch(DispatchRequest(model="echo"), 0) as old:
        workers.register(A, status_of(worker_id="new"), now=1)
        workers.mark_unreachable(old)
    assert pick(workers, now=1) == A


def test_a_worker_that_registers_again_keeps_its_open_streams(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    with workers.dispatch(DispatchRequest(model="echo"), 0):
        workers.deregister(A)
        workers.register(A, status_of(queue_length=1), now=1)
        assert queue_lengths(workers) == {A: 1}
    assert queue_lengths(workers) == {A: 0}


def test_a_worker_that_left_gets_nothing_more(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    assert workers.deregister(A)
    assert not workers.deregister(A)
    with pytest.raises(NoWorker):
        pick(workers)


def test_an_address_already_tried_is_passed_over(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    workers.register(B, status_of(), now=0)
    with workers.dispatch(DispatchRequest(model="echo", excluding={A}), 0) as worker:
        assert worker.address == B


def test_a_model_nobody_serves_is_not_found_and_the_served_ones_are_named(
    workers: Registry,
) -> None:
    workers.register(A, status_of("llava"), now=0)
    with pytest.raises(ModelNotFound, match="served: llava"):
        pick(workers, "echo")


def test_a_model_whose_worker_is_silent_is_unavailable_and_not_unknown(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    workers.register(B, status_of("llava"), now=50)
    with pytest.raises(NoWorker):
        pick(workers, "echo", now=50)


def test_a_worker_silent_for_many_leases_leaves_no_entry(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    workers.register(B, status_of(), now=10_000)
    assert list(queue_lengths(workers)) == [B]


def test_a_legacy_worker_serves_the_old_wire_only(workers: Registry) -> None:
    workers.register(A, status_of(worker_id=None), now=0, is_legacy=True)
    assert names_of(workers.alive(now=0)) == ["echo"]
    assert workers.address_of("echo", now=0) == A
    assert cards_of(workers.alive(now=0)) == []
    with pytest.raises(InvalidField, match="LLaVA's own protocol"):
        pick(workers)


def test_a_legacy_worker_cannot_take_the_place_of_a_proven_one(workers: Registry) -> None:
    workers.register(A, status_of(worker_id="proven"), now=0)
    with pytest.raises(RegistrationRefused, match="cluster token"):
        workers.register(A, status_of(worker_id=None), now=0, is_legacy=True)
    assert workers.known()[0].status.worker_id == "proven"


def test_a_proven_worker_can_take_the_place_of_a_legacy_one(workers: Registry) -> None:
    workers.register(A, status_of(worker_id=None), now=0, is_legacy=True)
    workers.register(A, status_of(), now=0)
    assert pick(workers) == A


def test_each_model_has_one_card(workers: Registry) -> None:
    workers.register(A, status_of("b"), now=0)
    workers.register(B, status_of("b"), now=0)
    workers.register("http://c:1", status_of("a"), now=0)
    assert [card.id for card in cards_of(workers.alive(now=0))] == ["a", "b"]


def test_a_refresh_takes_over_what_the_worker_says(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    workers.refresh(workers.known()[0], status_of(speed=2, queue_length=3), now=40)
    refreshed = workers.alive(now=80)[0]
    assert (refreshed.speed, refreshed.queue_length) == (2, 3)


def test_a_refresh_answered_by_another_process_takes_the_worker_out(workers: Registry) -> None:
    workers.register(A, status_of(worker_id="ours"), now=0)
    workers.refresh(workers.known()[0], status_of(worker_id="theirs"), now=1)
    assert workers.alive(now=1) == []


def test_a_late_refresh_does_not_bring_a_worker_back_that_left(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    asked = workers.known()[0]
    workers.deregister(A)
    assert not workers.refresh(asked, status_of(), now=1)
    assert workers.known() == []


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_cannot_divide_is_refused(speed: float) -> None:
    with pytest.raises(ValidationError, match="speed"):
        WorkerStatus(model_names=["echo"], speed=speed)


def test_a_worker_that_drains_gets_nothing_new_until_it_is_put_back(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    assert not workers.set_draining(B, True)
    with workers.dispatch(DispatchRequest(model="echo"), 0):
        assert workers.set_draining(A, True)
        with pytest.raises(NoWorker):
            pick(workers)
        workers.heartbeat(A, queue_length=1, now=1)
        workers.register(A, status_of(), now=1)  # the same process
        assert (names_of(workers.alive(now=1)), queue_lengths(workers)) == ([], {A: 1})
    assert workers.set_draining(A, False)
    assert pick(workers, now=1) == A


def test_a_drain_ends_with_its_process(workers: Registry) -> None:
    workers.register(A, status_of(worker_id="old"), now=0)
    workers.set_draining(A, True)
    workers.register(A, status_of(worker_id="new"), now=1)
    assert pick(workers, now=1) == A


def test_a_refresh_does_not_undo_what_happened_while_it_asked(workers: Registry) -> None:
    workers.register(A, status_of(), now=0)
    asked = workers.known()[0]
    workers.set_draining(A, True)
    assert workers.refresh(asked, status_of(), now=1)
    assert workers.known()[0].is_draining


def test_a_fingerprint_names_the_workers_that_answer_alike(workers: Registry) -> None:
    workers.register(A, status_of(fingerprint="one"), now=0)
    workers.register(B, status_of(fingerprint="other", queue_length=9), now=0)
    with workers.dispatch(DispatchRequest(model="echo", fingerprint="other"), 0) as worker:
        assert worker.address == B
