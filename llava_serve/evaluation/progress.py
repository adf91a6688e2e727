"""Progress of a run, on standard error: a bar at a terminal, and else a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_LINE_EVERY_S = 15.0


class Tracker(Protocol):
    """What is told of each question that is settled."""

    def settled(self, *, failed: bool) -> None:
        """Count a question."""
        ...


class RunCounts:
    """Counts of the questions settled here; `done` were settled before."""

    def __init__(self, total: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done, self.failed = total, done, 0
        self._before, self._began = done, clock()
        self._clock = clock

    def settled(self, *, failed: bool) -> None:
        """Count a question."""
        self.done += 1
        self.failed += failed

    @property
    def rate(self) -> float:
        """Questions a second."""
        return (self.done - self._before) / max(self._clock() - self._began, 1e-9)

    @property
    def told(self) -> str:
        """The counts in words."""
        rate = self.rate
        to_do = self.total - self.done
        left = f", {_duration(to_do / rate)} left" if rate and to_do else ""
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{rate:.1f}/s{failed}{left}"


@contextmanager
def tracked(name: str, total: int, done: int, console: Console) -> Iterator[Tracker]:
    """Show how far a run of `total` questions is, of which some were `done` before."""
    counts = RunCounts(total, done)
    if console.is_terminal:
        with _ProgressBar(name, counts, console).shown() as bar:
            yield bar
    else:
        lines = _ProgressLines(name, counts, console)
        yield lines
        lines.tell()


class _ProgressBar:
    def __init__(self, name: str, counts: RunCounts, console: Console) -> None:
        self._counts = counts
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
        )
        self._row = self._progress.add_task(
            name, total=counts.total, completed=counts.done, told=""
        )

    @contextmanager
    def shown(self) -> "Iterator[_ProgressBar]":
        with self._progress:
            yield self

    def settled(self, *, failed: bool) -> None:
        self._counts.settled(failed=failed)
        self._progress.update(self._row, advance=1, told=self._counts.told)


class _ProgressLines:
    def __init__(self, name: str, counts: RunCounts, console: Console) -> None:
        self._name, self._counts, self._console = name, counts, console
        self._told_at = time.monotonic()

    def settled(self, *, failed: bool) -> None:
        self._counts.settled(failed=failed)
        if (now := time.monotonic()) - self._told_at > _LINE_EVERY_S:
            self._told_at = now
            self.tell()

    def tell(self) -> None:
        counts = self._counts
        line = f"{self._name}: {counts.done:,} of {counts.total:,}, {counts.told}"
        self._console.print(line, markup=False, highlight=False)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
