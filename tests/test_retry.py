"""Retries wait longer each time, and say so at once and then once a minute."""

import logging

import pytest

from llava_serve.retry import RateLimitedWarning, backoff_s


def test_the_wait_doubles_up_to_the_longest() -> None:
    assert [backoff_s(attempt, 0.5, 5) for attempt in range(6)] == [0.5, 1, 2, 4, 5, 5]
    assert backoff_s(10**6, 0.5, 5) == 5


def test_a_failure_is_logged_when_it_is_new_and_then_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    warning = RateLimitedWarning(logging.getLogger("test"), lambda: now)
    for now in (0.0, 59.0, 60.0, 100.0):
        warning.warn("refused", "refused at %g", now)
    now = 101.0
    warning.warn("silent", "silent at %g", now)
    warning.reset()
    warning.warn("silent", "silent again")
    assert caplog.messages == ["refused at 0", "refused at 60", "silent at 101", "silent again"]
