"""The failure log counts an hour, however many requests fail, and keeps the last of each worker."""

import pytest

from llava_serve.cluster.recording import failure_log
from llava_serve.cluster.recording.failure_log import LAST_OF_WORKER, WINDOW_S, FailureLog
from llava_serve.cluster.recording.request_record import RequestRecord

W = "http://w:1"


def record(outcome: str, request_id: str = "r", worker: str | None = W) -> RequestRecord:
    return RequestRecord(
        request_id=request_id,
        wire="native",
        model="m",
        arrived_at=0.0,
        worker=worker,
        outcome=outcome,
    )


def test_what_is_older_than_an_hour_counts_no_longer() -> None:
    now = 0.0
    log = FailureLog(lambda: now)
    log.observe(record("timeout"))
    now = WINDOW_S - 1
    log.observe(record("timeout"))
    log.observe(record("busy"))
    assert [(one.code, one.count) for one in log.counts()] == [("timeout", 2), ("busy", 1)]
    now = WINDOW_S + 1
    assert [(one.code, one.count) for one in log.counts()] == [("timeout", 1), ("busy", 1)]
    now = 3 * WINDOW_S
    assert log.counts() == []
    assert list(log.of_worker(W)) == []


def test_an_answer_and_a_client_that_left_are_no_failures() -> None:
    log = FailureLog(lambda: 0.0)
    for outcome in ("ok", "client_left"):
        log.observe(record(outcome))
    assert (log.counts(), list(log.of_worker(W))) == ([], [])


def test_a_worker_has_its_last_failures_the_latest_first_and_each_request_once() -> None:
    log = FailureLog(lambda: 0.0)
    for n in range(LAST_OF_WORKER + 3):
        log.observe(record("failed", f"r{n}"))
    log.observe(record("failed", f"r{LAST_OF_WORKER + 2}"))
    told = [one.request_id for one in log.of_worker(W)]
    assert told == [f"r{n}" for n in range(LAST_OF_WORKER + 2, 2, -1)]


def test_workers_that_come_and_go_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_log, "_MOST_WORKERS", 2)
    log = FailureLog(lambda: 0.0)
    for n, worker in enumerate(("a", "b", "a", "c")):
        log.observe(record("failed", f"r{n}", worker))
    assert [bool(list(log.of_worker(one))) for one in "abc"] == [True, False, True]
