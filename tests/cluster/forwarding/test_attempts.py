"""Retries wait a random moment, take from a budget, and end where too many workers were lost."""

import pytest

from llava_serve.cluster.forwarding.attempts import MOST_LOST, Attempts
from llava_serve.cluster.forwarding.retry_budget import RetryBudget
from llava_serve.errors import WorkerLost
from llava_serve.retry import backoff_s, jittered_backoff_s

LOST = WorkerLost("http://w:1", "gone")


def emptied() -> RetryBudget:
    budget = RetryBudget(now=0.0)
    while not budget.take(now=0.0):
        pass
    return budget


async def test_a_retry_takes_from_the_budget() -> None:
    budget = emptied()
    budget.take(now=0.5)
    attempts = Attempts(budget, clock=lambda: 0.5)
    attempts.add("http://w:1", LOST)
    for _ in range(4):
        assert await attempts.may_retry(latest=9)
    assert not await attempts.may_retry(latest=0.5)


async def test_a_retry_that_the_budget_gives_too_late_is_none() -> None:
    attempts = Attempts(emptied(), clock=lambda: 0.0)
    attempts.add("http://w:1", LOST)
    assert not await attempts.may_retry(latest=0.05)


async def test_only_so_many_workers_are_lost_until_the_answer_gets_on() -> None:
    attempts = Attempts(RetryBudget(now=0.0), clock=lambda: 0.0)
    for number in range(1, MOST_LOST + 1):
        attempts.add(f"http://w:{number}", LOST)
        assert await attempts.may_retry(latest=9) is (number < MOST_LOST)
    assert (attempts.are_too_many, len(attempts.tried)) == (True, MOST_LOST)
    attempts.start_over()
    assert (attempts.are_too_many, len(attempts.tried)) == (False, 0)


async def test_a_worker_that_broke_off_may_go_on_once_it_is_back() -> None:
    now = 0.0
    attempts = Attempts(RetryBudget(now=0.0), clock=lambda: now)
    attempts.add("http://w:1", LOST)
    assert await attempts.may_return()
    assert (len(attempts.tried), attempts.first, attempts.lost) == (0, LOST, 1)
    now = 9.0
    assert not await attempts.may_return()


@pytest.mark.parametrize("attempt", [0, 3, 99])
def test_those_who_failed_together_come_apart(attempt: int) -> None:
    longest_s = backoff_s(attempt, 0.05, 1.0)
    waits = [jittered_backoff_s(attempt, 0.05, 1.0) for _ in range(200)]
    assert 0 <= min(waits) < longest_s / 4
    assert 3 * longest_s / 4 < max(waits) <= longest_s
