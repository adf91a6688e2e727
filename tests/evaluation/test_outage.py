"""What fails for everybody is waited for; what fails of one question alone is its own."""

import pytest

from llava_serve.errors import (
    Busy,
    CommandError,
    ContextOverflow,
    ControllerLost,
    ControllerUnreachable,
    KeyRefused,
    LineFull,
    MediaUnreadable,
    ModelNotAllowed,
    ModelNotFound,
    NoWorker,
    OutOfMemory,
    RateLimited,
    RemoteError,
    ServeError,
    WorkerLost,
    WorkersLost,
)
from llava_serve.evaluation.outage import Outage, fault_of, pause_s

FAULTS: list[tuple[ServeError, str]] = [
    (ContextOverflow(5, 5, 8), "final"),
    (MediaUnreadable("damaged"), "final"),
    (RemoteError("too long", "string_too_long", 422, ""), "final"),
    (WorkerLost("http://w", "killed"), "again"),
    (WorkersLost(2), "again"),
    (ControllerLost("http://c", "killed"), "again"),
    (RemoteError("bug", "unknown", 500, ""), "again"),
    (RemoteError("no memory", "out_of_memory", 503, ""), "again"),
    (RemoteError("too slow", "unknown", 408, ""), "again"),
    (ControllerUnreachable("http://c", "refused"), "server"),
    (RemoteError("Bad Gateway", "unknown", 502, ""), "either"),
    (RemoteError("moderated", "content_filter", 403, ""), "either"),
    (RemoteError("no such model", "unknown", 404, ""), "either"),
    (ModelNotAllowed("m"), "server"),
    (KeyRefused("expired"), "server"),
    (ModelNotFound("m", []), "server"),
    (NoWorker("m"), "server"),
    (RateLimited("tokens a minute", 5, 3), "server"),
    (LineFull(9, "", 3), "server"),
    (Busy(1, 1, 1, 2), "server"),
]


@pytest.mark.parametrize(("error", "fault"), FAULTS, ids=lambda one: str(one)[:30])
def test_whose_fault_an_error_is(error: ServeError, fault: str) -> None:
    assert fault_of(error) == fault
    sent = RemoteError.from_body(error.as_body(), error.status)
    assert fault_of(sent) == fault


def test_out_of_memory_is_the_questions() -> None:
    assert fault_of(OutOfMemory("12 GB are needed")) == "again"


@pytest.mark.parametrize(
    ("told", "least"), [("7", 7), ("", 0), ("Wed, 21 Oct 2026", 0), ("nan", 0), ("-5", 0)]
)
def test_one_waits_as_long_as_the_server_says(told: str, least: float) -> None:
    error = RemoteError("busy", "busy", 429, "")
    error.headers = {"Retry-After": told}
    assert least <= pause_s(0, error) <= least + 1


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


GONE = ControllerUnreachable("http://c", "refused")


async def test_patience_ends_with_the_reason_and_what_to_do() -> None:
    time = Time()
    outage = Outage(60, clock=time, sleep=time.sleep)
    with pytest.raises(CommandError, match="no question was answered for 60 s: no controller") as e:
        for attempt in range(100_000):
            await outage.wait(attempt, GONE)
    assert time.now == pytest.approx(60)
    assert "The same command goes on" in e.value.remedy


async def test_an_answer_renews_patience() -> None:
    time = Time()
    outage = Outage(60, clock=time, sleep=time.sleep)
    for attempt in range(1000):
        await outage.wait(attempt, GONE)
        outage.over()
    assert time.now > 60


async def test_a_wait_beyond_patience_is_not_begun() -> None:
    time = Time()
    error = RemoteError("budget spent", "insufficient_quota", 429, "")
    error.headers = {"Retry-After": "1000000"}
    with pytest.raises(CommandError, match="budget spent"):
        await Outage(60, clock=time, sleep=time.sleep).wait(0, error)
    assert time.now == 0


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_server_that_is_there_makes_a_proxys_error_the_questions_own(
    is_there: bool,
) -> None:
    time = Time()

    async def serves() -> bool:
        return is_there

    outage = Outage(60, serves, time, time.sleep)
    error = RemoteError("Bad Gateway", "unknown", 502, "")
    attempt = 0
    try:
        while await outage.wait(attempt, error):
            attempt += 1
    except CommandError:
        assert not is_there
    else:
        assert is_there
    assert time.now == pytest.approx(60)
