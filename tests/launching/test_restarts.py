"""How long a process that died waits for its next start."""

from llava_serve.launching.restarts import Restarts


def _delays(*lives_s: float) -> list[float]:
    restarts = Restarts()
    delays = []
    for lived_s in lives_s:
        restarts = restarts.after_death(lived_s)
        delays.append(restarts.delay_s)
    return delays


def test_the_delay_doubles_up_to_thirty_seconds() -> None:
    assert _delays(*[1.0] * 8) == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_minute_of_life_forgives_what_was_before() -> None:
    assert _delays(1, 1, 1, 60, 1) == [1, 2, 4, 1, 2]


def test_a_process_that_dies_for_days_still_gets_a_delay() -> None:
    assert Restarts(1_000_000).delay_s == 30
