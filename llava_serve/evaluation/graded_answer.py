"""Graded answer of a run: one line of `graded.jsonl`, which reports and comparisons read."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class GradedAnswer(BaseModel):
    """An answer beside the truth; `failure` is an error's code, and then nothing is graded.

    `credit` is that of `Grade`. `logprob` is the sum of the token log-probabilities in nats, and
    times are seconds, as in `AnswerRecord`.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    id: str
    kind: str
    prompt: str
    truth: Any = None
    text: str | None = None
    parsed: str | None = None
    credit: float | None = None
    failure: str | None = None
    logprob: float | None = None
    tokens: int | None = None
    first_token_s: float | None = None
    total_s: float | None = None
