"""Page of a review: one HTML file without scripts and without a network."""

from pathlib import Path

from llava_serve.evaluation.report.pages import environment
from llava_serve.evaluation.review.review_report import ReviewReport

_PAGES = environment(Path(__file__).parent)


def review_page(report: ReviewReport) -> str:
    """Write the page; everything that models, judges and files said is escaped."""
    bounds = [
        bound
        for row in report.rows
        for bound in (row.relative, *(row.interval or ()))
        if bound is not None
    ]
    return _PAGES.get_template("review.html").render(
        report=report, reach=max(bounds, default=0) or 100
    )
