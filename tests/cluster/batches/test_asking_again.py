"""What passes is asked again, and what a request itself brings about only a few times."""

import json

import pytest

from llava_serve.cluster.batches.asking_again import AskingAgain
from llava_serve.cluster.batches.own_request import OwnAnswer


def refused(status: int, code: str, **headers: str) -> OwnAnswer:
    body = json.dumps({"error": {"code": code, "message": "no"}}).encode()
    return OwnAnswer(status, headers, body)


def test_an_answer_is_one() -> None:
    assert AskingAgain().wait_s(OwnAnswer(200, {}, b"{}")) is None


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "rate_limit_exceeded"),
        (503, "no_worker"),
        (502, "worker_lost"),
        (404, "model_not_found"),
        (401, "invalid_api_key"),
    ],
)
def test_what_passes_is_asked_until_it_has_passed(status: int, code: str) -> None:
    again = AskingAgain()
    waits = [again.wait_s(refused(status, code)) for _ in range(100)]
    assert all(wait is not None and 0 <= wait <= 30 for wait in waits)


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "invalid_field"), (403, "model_not_allowed"), (500, "engine_failure"), (404, "other")],
)
def test_what_does_not_pass_is_the_answer(status: int, code: str) -> None:
    assert AskingAgain().wait_s(refused(status, code)) is None


def test_what_a_request_may_bring_about_is_asked_three_times() -> None:
    again = AskingAgain()
    waits = [again.wait_s(refused(502, "workers_lost")) for _ in range(3)]
    assert [wait is None for wait in waits] == [False, False, True]


def test_a_time_that_is_told_is_heeded_up_to_a_minute() -> None:
    told = {"retry-after": "7"}
    assert AskingAgain().wait_s(refused(429, "rate_limit_exceeded", **told)) == 7
    month = {"retry-after": "900000"}
    assert AskingAgain().wait_s(refused(429, "insufficient_quota", **month)) == 60


def test_a_text_in_place_of_a_body_is_no_error_that_is_known() -> None:
    assert AskingAgain().wait_s(OwnAnswer(500, {}, b"oh no")) is None
