"""A retry budget gives a fifth of the requests, and a little more where there are few."""

from llava_serve.cluster.forwarding.retry_budget import RetryBudget


def test_when_every_request_fails_a_fifth_of_them_are_asked_again() -> None:
    budget, taken, requests_per_s, seconds = RetryBudget(now=0.0), 0, 1000, 60
    for number in range(requests_per_s * seconds):
        budget.count_request()
        taken += not budget.take(now=number / requests_per_s)
    assert taken <= 0.2 * requests_per_s * seconds + 10 * seconds + 100
    assert taken >= 0.2 * requests_per_s * seconds


def test_an_idle_controller_asks_as_many_again_as_a_window_gives() -> None:
    budget = RetryBudget(now=0.0)
    assert [budget.take(now=1000.0) for _ in range(100)] == [0.0] * 100
    assert budget.take(now=1000.0) > 0


def test_an_empty_budget_says_when_to_ask_again() -> None:
    budget = RetryBudget(now=0.0)
    while not (wait_s := budget.take(now=0.0)):
        pass
    assert budget.take(now=0.9 * wait_s) > 0
    assert budget.take(now=wait_s) == 0


def test_five_requests_pay_for_one_retry() -> None:
    budget = RetryBudget(now=0.0)
    while not budget.take(now=0.0):
        pass
    for _ in range(5):
        assert budget.take(now=0.0) > 0
        budget.count_request()
    assert budget.take(now=0.0) == 0
