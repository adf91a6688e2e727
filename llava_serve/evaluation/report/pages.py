"""Pages of a report and a comparison: one HTML file each, without scripts and without a network."""

import base64
import hashlib
import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from llava_serve.evaluation.report import formatting
from llava_serve.evaluation.report.question_images import Thumbnails
from llava_serve.evaluation.report.run_comparison import RunComparison
from llava_serve.evaluation.report.run_report import RunReport, Times

_HERE = Path(__file__).parent
_STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'"
)


def report_page(report: RunReport, thumbnails: Thumbnails) -> str:
    """Write the page of a run; everything that models and data sets said is escaped."""
    parts = [name.rpartition("/") for name in report.metrics if "/" in name]
    is_one_table = report.main_metric not in report.metrics or "/" in report.main_metric
    return _PAGES.get_template("report.html").render(
        report=report,
        thumbnails=thumbnails,
        parts=[] if is_one_table else list(dict.fromkeys(part for part, _, _ in parts)),
        part_metrics=list(dict.fromkeys(name for _, _, name in parts)),
    )


def comparison_page(comparison: RunComparison, thumbnails: Thumbnails) -> str:
    """Write the page of a comparison; as careful as `report_page`."""
    a, b = comparison.runs
    bounds = [
        abs(bound)
        for one in (*comparison.kinds, comparison.total)
        if one.paired is not None
        for bound in one.paired.interval
    ]
    return _PAGES.get_template("compare.html").render(
        comparison=comparison,
        thumbnails=thumbnails,
        names=list(dict.fromkeys((*a.metrics, *b.metrics))),
        reach=max(bounds, default=1.0),
        groups=[
            (better, [one for one in comparison.examples if one.better == better])
            for better in ("A", "B", None)
        ],
    )


def _ticks(times: Times) -> list[float]:
    """Return times of 1, 2 or 5 times a power of ten within a histogram, at most six."""
    low, high = times.histogram[0].low_s, times.histogram[-1].high_s
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 6:
            break
    return ticks


def environment(*folders: Path) -> Environment:
    """Return what fills in templates of these folders, which may extend `layout.html`."""
    pages = Environment(
        loader=FileSystemLoader([*folders, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for written in (
        *(formatting.percent, formatting.points, formatting.percent_range, formatting.points_range),
        *(formatting.metric, formatting.seconds, formatting.p_value, formatting.count),
        *(formatting.truth_text, formatting.tick),
    ):
        pages.filters[written.__name__] = written
    pages.globals.update(
        style=_STYLE,
        policy=_POLICY,
        ticks=_ticks,
        log=math.log,
    )
    return pages


_PAGES = environment()
