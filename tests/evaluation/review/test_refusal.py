"""A judge that can never answer ends the run; all else is told as the judge's, and may pass."""

import pytest

from llava_serve.errors import CommandError, ControllerUnreachable, ControllerUntrusted, RemoteError
from llava_serve.evaluation.outage import fault_of
from llava_serve.evaluation.review.refusal import told_of_judge


def error(status: int, code: str = "unknown") -> RemoteError:
    return RemoteError("no", code, status, "remedy")


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        pytest.param(error(401), "--judge-key-file", id="a wrong key"),
        pytest.param(error(403), "--judge-key-file", id="a key without the right"),
        pytest.param(error(404), "--judge-model", id="an unknown model"),
        pytest.param(error(402), "account", id="no money"),
        pytest.param(error(429, "insufficient_quota"), "account", id="OpenAI's no money"),
        pytest.param(ControllerUntrusted("https://j", "old"), "--ca-file", id="no trust"),
    ],
)
def test_a_judge_that_can_never_answer_ends_the_run(refusal: RemoteError, told: str) -> None:
    ended = told_of_judge(refusal)
    assert isinstance(ended, CommandError)
    assert told in ended.remedy


@pytest.mark.parametrize("status", [400, 408, 429, 500, 503, 529])
def test_another_error_is_left_as_it_is(status: int) -> None:
    other = error(status)
    assert told_of_judge(other) is other


def test_a_judge_that_is_away_is_waited_for() -> None:
    away = told_of_judge(ControllerUnreachable("http://j", "connection refused"))
    assert str(away) == "the judge does not answer at http://j: connection refused"
    assert "--judge" in away.remedy
    assert fault_of(away) == "server"
