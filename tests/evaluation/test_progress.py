"""Who runs a task sees how far it is: a bar at a terminal, and else lines."""

import io

import pytest
from rich.console import Console

from llava_serve.evaluation import progress
from llava_serve.evaluation.progress import RunCounts, tracked


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_was_done_before_makes_a_run_no_faster() -> None:
    clock = Clock()
    counts = RunCounts(1_100, 1_000, clock)
    for _ in range(10):
        counts.settled(failed=False)
    clock.now = 5.0
    assert counts.told == "2.0/s, 45 s left"


@pytest.mark.parametrize(
    ("total", "left"), [(12_010, "1 h 40 min"), (130_010, "18 h 3 min"), (2_050, "17 min")]
)
def test_the_time_that_is_left_is_told_in_large_units(total: int, left: str) -> None:
    clock = Clock()
    counts = RunCounts(total, 0, clock)
    for _ in range(10):
        counts.settled(failed=True)
    clock.now = 5.0
    assert counts.told == f"2.0/s, 10 failed, {left} left"


def test_before_the_first_answer_no_time_is_told() -> None:
    assert RunCounts(10, 0).told == "0.0/s"


def test_without_a_terminal_a_line_is_printed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0)
    file = io.StringIO()
    with tracked("[pope]", 2_000, 1_998, Console(file=file)) as tracker:
        tracker.settled(failed=True)
    assert file.getvalue().startswith("[pope]: 1,999 of 2,000, ")
    assert "1 failed" in file.getvalue()


def test_at_a_terminal_there_is_a_bar() -> None:
    file = io.StringIO()
    with tracked("pope", 20, 5, Console(file=file, force_terminal=True, width=100)) as tracker:
        tracker.settled(failed=False)
        tracker.settled(failed=True)
    assert "7/20" in file.getvalue()
    assert "1 failed" in file.getvalue()
