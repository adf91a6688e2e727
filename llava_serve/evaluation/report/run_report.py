"""Report of a run as it is kept: the form of `report.json`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from llava_serve.evaluation.manifest import Images, Manifest


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FailureExample(_Kept):
    """How many questions failed with one error, and what one of them was told."""

    code: str
    n: int
    message: str | None


class KindScore(_Kept):
    """Answers of one kind of question, or of all.

    `n` counts graded answers, `interval` is Wilson's of their mean credit. `ungraded` were
    answered, but nobody here can grade them. `constant` is the mean credit of the best answer that
    is the same for each of these questions, among those that were tried; None where none was. Of
    more than 20,000 questions it is found on about as many, drawn at random.
    """

    kind: str
    n: int
    failed: int
    ungraded: int
    mean_credit: float | None
    interval: tuple[float, float] | None
    constant: float | None = None
    constant_answer: str | None = None


class PairedScore(_Kept):
    """Two runs on the questions that were graded in both, the second less the first.

    `only_first` counts questions for which the first got more credit. `p_value` is McNemar's.
    """

    n: int
    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float


class ControlResult(_Kept):
    """The same questions with other images.

    `paired` has the control first and the true images second, so its difference is what the true
    images add. `needs_image` is that difference as a fraction of the score with the true images:
    1 where all of the score is lost without them, 0 where none is.
    """

    images: Images
    asked: int
    failed: int
    metrics: dict[str, float]
    mean_credit: float | None
    paired: PairedScore | None
    needs_image: float | None


class TimeBar(_Kept):
    """How many times lie from `low_s` to below `high_s`."""

    low_s: float
    high_s: float
    n: int


class Times(_Kept):
    """Times in seconds; quantiles are right to one per cent."""

    n: int
    mean_s: float
    p50_s: float
    p90_s: float
    p99_s: float
    most_s: float
    histogram: list[TimeBar]


class TokenSum(_Kept):
    """Generated tokens of the answers whose server told their number."""

    n: int
    total: int
    mean: float
    most: int


class ReliabilityBin(_Kept):
    """Answers whose probability lies from `low` to `high`, with the means of it and of credit."""

    low: float
    high: float
    n: int
    confidence: float | None
    credit: float | None


class Reliability(_Kept):
    """Probability of whole answers against their credit."""

    n: int
    expected_calibration_error: float
    mean_confidence: float
    bins: list[ReliabilityBin]


class WorstAnswer(_Kept):
    """A wrong answer, and the probability the model gave it; long texts are cut."""

    index: int
    id: str
    kind: str
    prompt: str
    truth: Any
    text: str
    parsed: str | None
    credit: float
    confidence: float | None


class RunReport(_Kept):
    """What `report.json` holds.

    `missing` were neither answered nor failed: the run was stopped before them.
    `mean_credit_failed_wrong` is the mean credit where each failed question counts as wrong.
    """

    format: Literal["llava_serve.evaluate.report"] = "llava_serve.evaluate.report"
    version: Literal[1] = 1
    manifest: Manifest
    asked: int
    answered: int
    failed: int
    missing: int
    failures: list[FailureExample]
    cut: int | None  # answers that ended at max_tokens; None where that is not known
    main_metric: str
    metrics: dict[str, float]
    total: KindScore
    mean_credit_failed_wrong: float | None
    kinds: list[KindScore]
    controls: list[ControlResult]
    first_token: Times | None
    total_time: Times | None
    tokens: TokenSum | None
    reliability: Reliability | None
    worst: list[WorstAnswer]
