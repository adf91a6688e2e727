"""Comparison of two runs as it is kept: the form of `compare.json`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from llava_serve.evaluation.manifest import Manifest
from llava_serve.evaluation.report.run_report import PairedScore, Reliability, Times, TokenSum


class _ComparedPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ComparedRun(_ComparedPart):
    """One of the two runs; its figures are those of its own report, over all its questions."""

    report: str  # path of its report.json
    manifest: Manifest
    failed: int  # among the common questions
    metrics: dict[str, float]
    first_token: Times | None
    total_time: Times | None
    tokens: TokenSum | None
    reliability: Reliability | None


class KindDifference(_ComparedPart):
    """What the two got for one kind of question, or for all; None where none was graded twice."""

    kind: str
    paired: PairedScore | None


Better = Literal["A", "B"] | None


class AnswerPair(_ComparedPart):
    """Two answers to one question whose texts differ; `credits` are None where none was graded."""

    index: int
    id: str
    kind: str
    prompt: str
    truth: Any
    texts: tuple[str, str]
    credits: tuple[float | None, float | None]
    confidences: tuple[float | None, float | None]

    @property
    def better(self) -> Better:
        """Which answer got more credit; None where both got as much, or were not both graded."""
        a, b = self.credits
        return None if a is None or b is None or a == b else "A" if a > b else "B"


class RunComparison(_ComparedPart):
    """What `compare.json` holds: `runs` are A and B, and every difference is B less A.

    `both_answered` counts questions that both answered, `same_text` those of them with the same
    text. Names of kinds, metrics and p-values are those of the reports.
    """

    format: Literal["llava_serve.evaluate.compare"] = "llava_serve.evaluate.compare"
    version: Literal[1] = 1
    runs: tuple[ComparedRun, ComparedRun]
    notes: list[str]
    common: int
    both_answered: int
    same_text: int
    main_metric: str
    total: KindDifference
    kinds: list[KindDifference]
    examples: list[AnswerPair]
