"""Outcome of a way to show the images: metrics, and how many answers failed of what."""

from pydantic import BaseModel, ConfigDict


class Outcome(BaseModel):
    """`metrics` are those of the task's tally; `failed` counts questions by their error's code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: dict[str, float]
    answered: int
    failed: dict[str, int] = {}
