"""Summing up: from the kept reviews of a folder to the report."""

from collections import Counter
from collections.abc import Mapping, Sequence

from llava_serve.evaluation.report.statistics import mcnemar
from llava_serve.evaluation.review.comparison import ORDERS, AnswerComparison
from llava_serve.evaluation.review.review_manifest import ReviewManifest
from llava_serve.evaluation.review.review_report import (
    ALL,
    OrderRow,
    ReviewLoss,
    ReviewReport,
    ReviewRow,
)
from llava_serve.evaluation.review.review_set import ReviewSet
from llava_serve.evaluation.review.reviews_file import ReviewRecord, index_of
from llava_serve.evaluation.review.summary import (
    ScoredPair,
    interval,
    means,
    order_effect,
    relative_ab,
    relative_score,
    wins_ties_losses,
)

_WORST = 10
_TOLD = 300  # characters

Records = Mapping[int, ReviewRecord]
"""The reviews that count, by their index."""


def scored_pairs(reviews: ReviewSet, records: Records) -> dict[str, ScoredPair]:
    """Return the questions that are scored in both orders, by their ids, in their order."""
    pairs = {}
    for number, one in enumerate(reviews.comparisons):
        ab, ba = (_scores(records, index_of(number, order)) for order in ORDERS)
        if ab is not None and ba is not None:
            cluster = one.question.image or f"question {one.key}"
            pairs[one.key] = ScoredPair(one.key, one.category, cluster, ab, ba)
    return pairs


def report_of(
    manifest: ReviewManifest, reviews: ReviewSet, records: Records, seed: int
) -> ReviewReport:
    """Sum up; `seed` is that of the intervals."""
    pairs = scored_pairs(reviews, records)
    categories = sorted({one.category for one in reviews.asked})
    rows = [_row(reviews, pairs, category, seed) for category in categories]
    failed = [one for one in records.values() if one.failure is not None]
    effect = order_effect([*pairs.values()])
    return ReviewReport(
        manifest=manifest,
        rows=[*rows, _row(reviews, pairs, None, seed)],
        order=OrderRow(
            advantage=effect.advantage,
            agreed=effect.agreement.rate,
            kappa=effect.agreement.kappa,
        ),
        failures=dict(Counter(_code(one) for one in failed).most_common()),
        told={_code(one): _told(one) for one in reversed(failed)},
        unasked=reviews.unasked,
        default_rule=[*reviews.default_rule],
        worst=_worst(reviews, pairs, records),
    )


def _row(
    reviews: ReviewSet, pairs: Mapping[str, ScoredPair], category: str | None, seed: int
) -> ReviewRow:
    asked = [one for one in reviews.asked if category in (None, one.category)]
    counted = [one for one in pairs.values() if category in (None, one.category)]
    missing = sum(one.comparison is None for one in asked)
    wins, ties, losses = wins_ties_losses(counted)
    mean_a, mean_b = (10 * mean for mean in means(counted)) if counted else (None, None)
    return ReviewRow(
        category=category or ALL,
        questions=len(asked),
        judged=len(counted),
        failed=len(asked) - missing - len(counted),
        missing=missing,
        mean_a=mean_a,
        mean_b=mean_b,
        relative=relative_score(counted),
        relative_ab=relative_ab(counted),
        interval=interval(counted, seed),
        wins=wins,
        ties=ties,
        losses=losses,
        p_value=mcnemar(losses, wins),
    )


def _worst(
    reviews: ReviewSet, pairs: Mapping[str, ScoredPair], records: Records
) -> list[ReviewLoss]:
    lost = []
    for number, one in enumerate(reviews.comparisons):
        pair = pairs.get(one.key)
        if pair is not None and pair.mean[1] < pair.mean[0]:
            lost.append(_loss(one, pair, [records[index_of(number, order)] for order in ORDERS]))
    return sorted(lost, key=lambda loss: -loss.points)[:_WORST]


def _loss(
    comparison: AnswerComparison, pair: ScoredPair, records: Sequence[ReviewRecord]
) -> ReviewLoss:
    answer_a, answer_b = comparison.answers
    first, second = (record.text or "" for record in records)
    return ReviewLoss(
        question_id=comparison.key,
        category=comparison.category,
        points=pair.mean[0] - pair.mean[1],
        question=comparison.question.text,
        answer_a=answer_a.text,
        answer_b=answer_b.text,
        reviews=(first, second),
    )


def _scores(records: Records, index: int) -> tuple[float, float] | None:
    record = records.get(index)
    return None if record is None else record.scores


def _code(record: ReviewRecord) -> str:
    return "" if record.failure is None else record.failure.code


def _told(record: ReviewRecord) -> str:
    message = "" if record.failure is None else record.failure.message
    return (record.text or message)[:_TOLD]
