"""Report of a review, in JSON with a version: scores by category, the order's effect, failures."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from llava_serve.evaluation.review.review_manifest import ReviewManifest

ALL = "all"


class _ReportPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReviewRow(_ReportPart):
    """A category, or `all` of them.

    `judged` questions are scored in both orders, and count; `failed` ones lack scores in at least
    one, and `missing` ones an answer. Means are from 0 to 100; `relative` is B's in percent of
    A's, with its 95 % `interval`, and `relative_ab` the same in LLaVA's only order, A first.
    Wins are B's where both orders say so, losses A's, all else is a tie; what cannot be told is
    None. `p_value` is that of `mcnemar` for wins and losses.
    """

    category: str
    questions: int
    judged: int
    failed: int
    missing: int
    mean_a: float | None
    mean_b: float | None
    relative: float | None
    relative_ab: float | None
    interval: tuple[float, float] | None
    wins: int
    ties: int
    losses: int
    p_value: float


class OrderRow(_ReportPart):
    """What the place of an answer does.

    `advantage` is how many points (of 10) more an answer gets as the first, `agreed` the fraction
    of questions on which both orders name one winner or a tie, `kappa` Cohen's.
    """

    advantage: float | None
    agreed: float | None
    kappa: float | None


class ReviewLoss(_ReportPart):
    """A question on which B is behind A, in points of the mean of both orders."""

    question_id: str
    category: str
    points: float
    question: str
    answer_a: str
    answer_b: str
    reviews: tuple[str, str]  # A first, B first


class ReviewReport(_ReportPart):
    """`failures` counts reviews by code, `told` shows the first text or message of each.

    `unasked` counts the answers, of either model, to no question of the file.
    """

    format: Literal["llava_serve.review.report"] = "llava_serve.review.report"
    version: Literal[1] = 1
    manifest: ReviewManifest
    rows: list[ReviewRow]
    order: OrderRow
    failures: dict[str, int]
    told: dict[str, str]
    unasked: tuple[int, int]
    default_rule: list[str]  # categories that are judged by the rule `default`
    worst: list[ReviewLoss]

    @property
    def total(self) -> ReviewRow:
        return self.rows[-1]
