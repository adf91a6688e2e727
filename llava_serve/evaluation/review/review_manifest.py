"""Manifest of a folder of reviews: what is reviewed by whom, so that only the same run goes on."""

import json
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from llava_serve.evaluation.review.config import JudgeProtocol, ReviewConfig
from llava_serve.evaluation.review.judges import request_fields
from llava_serve.evaluation.review.review_set import ReviewSet

MAY_DIFFER = ("started_at",)


class ReviewManifest(BaseModel):
    """Files are told apart by the SHA-256 of their bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["llava_serve.review"] = "llava_serve.review"
    version: Literal[1] = 1
    model_a: str
    model_b: str
    judge_model: str
    judge_protocol: JudgeProtocol
    judge_fields: str
    images_shown: bool
    questions: str
    context: str | None
    rules: str
    answers_a: str
    answers_b: str
    started_at: str  # ISO 8601, UTC


def manifest_of(config: ReviewConfig, reviews: ReviewSet) -> ReviewManifest:
    """Return the manifest of a run that begins."""
    model_a, model_b = reviews.models
    return ReviewManifest(
        model_a=model_a,
        model_b=model_b,
        judge_model=config.judge_model,
        judge_protocol=config.judge_protocol,
        judge_fields=json.dumps(request_fields(config), sort_keys=True),
        images_shown=config.show_images is not None,
        **reviews.digests,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
