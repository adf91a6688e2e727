"""Paired score: what two runs got for the same questions, as the reports keep it."""

from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.report.run_report import PairedScore
from llava_serve.evaluation.report.statistics import PairedTally


def add_pair(tally: PairedTally, first: GradedAnswer | None, second: GradedAnswer | None) -> bool:
    """Count a question if both its answers are graded, and tell whether they are."""
    if first is None or second is None or first.credit is None or second.credit is None:
        return False
    tally.add(first.credit, second.credit)
    return True


def paired_score(tally: PairedTally) -> PairedScore | None:
    """Return the score; None where no question was graded in both runs."""
    if tally.n == 0:
        return None
    return PairedScore(
        n=tally.n,
        first=tally.first / tally.n,
        second=tally.second / tally.n,
        difference=tally.difference,
        interval=tally.interval,
        only_first=tally.only_first,
        only_second=tally.only_second,
        p_value=tally.p_value,
    )
