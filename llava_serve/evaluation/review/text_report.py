"""Report of a review as text: a table by category, and what must be known of it."""

from collections.abc import Iterator

from llava_serve.evaluation.report.formatting import p_value, printable
from llava_serve.evaluation.review.review_report import ReviewReport, ReviewRow
from llava_serve.text_table import text_table

_HEAD = (
    *("category", "questions", "judged", "failed", "missing", "reference", "model"),
    *("relative %", "95 % interval", "A first %", "wins", "ties", "losses", "p"),
)


def as_text(report: ReviewReport) -> str:
    """Return the report in lines."""
    manifest = report.manifest
    names = f"{printable(manifest.model_b)} against {printable(manifest.model_a)}"
    judge = printable(manifest.judge_model)
    table = text_table([_HEAD, *map(_cells, report.rows)])
    return f"{names}, scored by {judge}\n\n{table}\n" + "".join(
        f"{line}\n" for line in _lines(report)
    )


def _cells(row: ReviewRow) -> tuple[object, ...]:
    low_high = "" if row.interval is None else "{:.1f} to {:.1f}".format(*row.interval)
    return (
        printable(row.category),
        *(row.questions, row.judged, row.failed, row.missing),
        *map(_tenths, (row.mean_a, row.mean_b, row.relative)),
        low_high,
        _tenths(row.relative_ab),
        *(row.wins, row.ties, row.losses),
        p_value(row.p_value) if row.wins + row.losses else "",
    )


def _tenths(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _lines(report: ReviewReport) -> Iterator[str]:
    total, order = report.total, report.order
    if not total.judged:
        yield "Nothing can be told: no question has scores in both orders."
    if order.advantage is not None:
        yield f"Standing first is worth {order.advantage:+.2f} points of 10 to an answer."
    if order.agreed is not None:
        kappa = "" if order.kappa is None else f", Cohen's kappa {order.kappa:.2f}"
        yield f"Both orders agree on {100 * order.agreed:.0f} % of the questions{kappa}."
    if report.default_rule:
        names = printable(", ".join(report.default_rule))
        yield f"Judged by the rule `default`: {names}."
    if total.missing:
        yield f"Questions without an answer of both models: {total.missing}."
    for name, count in zip("AB", report.unasked, strict=True):
        if count:
            yield f"Answers of model {name} to no question of the file: {count}."
    if report.failures:
        yield (
            f"Reviews that failed: {sum(report.failures.values())}; the same command asks for them "
            "again."
        )
    for code, count in report.failures.items():
        yield f"  {printable(code)}: {count}, such as {' '.join(report.told[code].split())!r}"
