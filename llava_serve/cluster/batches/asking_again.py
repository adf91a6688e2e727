"""Asking again: which answers of a batch's line are none, and when the line is asked once more."""

from collections import Counter
from typing import Any

from pydantic_core import from_json

from llava_serve.cluster.batches.own_request import INCOMPLETE, OwnAnswer
from llava_serve.errors.base import RETRY_AFTER
from llava_serve.retry import jittered_backoff_s

# A limit of the key, a worker that was lost, is busy or away: all of that passes.
_PASSING = (429, 502, 503, 504)
# The model has no worker, which the check of lines has seen; or the key, whose state is looked at.
_PASSING_CODES = ("model_not_found", "invalid_api_key")
# It may be the request itself that brings these about.
_ONES_OWN = ("workers_lost", "answer_timeout", "out_of_memory", "engine_lost", INCOMPLETE)
_TRIES = dict.fromkeys(_ONES_OWN, 3)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_LONGEST_TOLD_S = 60.0  # that a Retry-After is heeded, as an operator may raise a limit


class AskingAgain:
    """The answers of one line so far."""

    def __init__(self) -> None:
        self._attempts = 0
        self._codes: Counter[str] = Counter()

    def wait_s(self, answer: OwnAnswer) -> float | None:
        """Return after how long to ask again; None: the answer is one."""
        if answer.status < 400:
            return None
        code = code_of(answer)
        self._codes[code] += 1
        if answer.status not in _PASSING and code not in _PASSING_CODES:
            return None
        if self._codes[code] >= _TRIES.get(code, self._codes[code] + 1):
            return None
        backoff_s = jittered_backoff_s(self._attempts, _FIRST_WAIT_S, _LONGEST_WAIT_S)
        self._attempts += 1
        return max(min(_told_s(answer), _LONGEST_TOLD_S), backoff_s)


def code_of(answer: OwnAnswer) -> str:
    """Return the code of an error, in the shape of whatever protocol."""
    body = body_of(answer)
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("code")) if isinstance(error, dict) else ""


def body_of(answer: OwnAnswer) -> Any:
    """Return the decoded body, or its text where a worker's own protocol is none of JSON."""
    try:
        return from_json(answer.body)
    except ValueError:
        return answer.body.decode(errors="replace")


def _told_s(answer: OwnAnswer) -> float:
    try:
        return max(float(answer.headers.get(RETRY_AFTER.lower(), 0)), 0.0)
    except ValueError:
        return 0.0
