"""Comparison of two runs as lines of text for a terminal."""

from collections.abc import Iterator

from llava_serve.evaluation.report.formatting import (
    NOTHING,
    metric,
    p_value,
    percent,
    points,
    points_range,
    printable,
    seconds,
)
from llava_serve.evaluation.report.run_comparison import KindDifference, RunComparison
from llava_serve.evaluation.report.run_report import Times
from llava_serve.text_table import text_table

_HEAD = ("kind", "n", "A", "B", "B - A", "95 % interval", "A better", "B better", "p")


def comparison_lines(comparison: RunComparison) -> str:
    """Write what two runs got side by side."""
    a, b = comparison.runs
    kinds = [one for one in comparison.kinds if one.kind or len(comparison.kinds) > 1]
    parts = [
        "".join(
            f"{name}: {printable(run.manifest.model)}, {printable(run.report)}\n"
            for name, run in zip("AB", comparison.runs, strict=True)
        ),
        "".join(f"{note}\n" for note in comparison.notes),
        text_table([_HEAD, *map(_row, kinds), _row(comparison.total, "all")]),
        f"{comparison.same_text:,} of {comparison.both_answered:,} answers are the same text; of "
        f"{comparison.common:,} common questions A failed {a.failed:,} and B {b.failed:,}.\n",
        text_table(_figures(comparison)),
    ]
    return "\n".join(filter(None, parts))


def _row(one: KindDifference, name: str = "") -> tuple[str, ...]:
    paired, name = one.paired, name or printable(one.kind) or "(without a kind)"
    if paired is None:
        return (name, "0", *("" for _ in _HEAD[2:]))
    return (
        name,
        f"{paired.n:,}",
        percent(paired.first),
        percent(paired.second),
        points(paired.difference),
        points_range(paired.interval),
        f"{paired.only_first:,}",
        f"{paired.only_second:,}",
        p_value(paired.p_value),
    )


def _figures(comparison: RunComparison) -> Iterator[tuple[str, str, str]]:
    a, b = comparison.runs
    yield "", "A", "B"
    for name in dict.fromkeys((*a.metrics, *b.metrics)):
        yield printable(name), metric(a.metrics.get(name)), metric(b.metrics.get(name))
    rows: tuple[tuple[str, Times | None, Times | None], ...] = (
        ("first token", a.first_token, b.first_token),
        ("whole answer", a.total_time, b.total_time),
    )
    for name, one, other in rows:
        if one is not None or other is not None:
            yield f"{name}, 50 % / 99 % within", _quantiles(one), _quantiles(other)


def _quantiles(times: Times | None) -> str:
    return NOTHING if times is None else f"{seconds(times.p50_s)} / {seconds(times.p99_s)}"
