"""Manifest of a run's folder: what was asked of which model, so that only the same run goes on."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Images = Literal["original", "swapped", "gray"]
Detail = Literal["low", "high"]


class Manifest(BaseModel):
    """`digest` is the SHA-256 over the questions that are asked, with their right answers.

    `data` is the path they were read from; of their media, names count and contents do not.
    `questions` is how many are asked: all of the task, or the first ones where a limit was set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["llava_serve.evaluate"] = "llava_serve.evaluate"
    version: Literal[1] = 1
    task: str
    data: str
    digest: str
    questions: int
    model: str
    max_tokens: int
    detail: Detail | None = None  # asked of each image; None leaves it to the server
    started_at: str  # ISO 8601, UTC
