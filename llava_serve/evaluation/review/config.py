"""Settings of `evaluate review`."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from llava_serve import args
from llava_serve.config import LogConfig, LogLevel
from llava_serve.tls_config import TrustConfig

JudgeProtocol = Literal["openai", "anthropic"]


@dataclass(frozen=True, kw_only=True)
class ReviewConfig(TrustConfig, LogConfig):
    """Let a judge score two models' answers to the same questions, each pair in both orders.

    What it has scored is not asked again; what has failed is.
    """

    questions: Annotated[Path, "LLaVA's question file: question_id, text, category, image"]
    context: Annotated[
        Path | None, "LLaVA's context file: what is in each image, as captions and boxes"
    ] = None
    answers: Annotated[
        tuple[str, ...],
        "two of LLaVA's answer files: first the reference, then the model that is compared with it",
    ]
    rules: Annotated[
        Path | None, "LLaVA's rule file: role and prompt by category; default: one of our own words"
    ] = None
    show_images: Annotated[
        Path | None, "folder of the images, for a judge that sees; default: show it none"
    ] = None
    judge: Annotated[str, "address of the judge's server"]
    judge_model: Annotated[str, "model that judges"]
    judge_protocol: Annotated[
        JudgeProtocol, "chat completions of OpenAI, or messages of Anthropic"
    ] = "openai"
    judge_key_file: Annotated[Path | None, "file with the API key, where one is asked for"] = None
    judge_fields: Annotated[
        str,
        "JSON object of further fields of each request to the judge; null leaves one out, such as "
        "temperature",
    ] = "{}"
    temperature: Annotated[float, "of the judge; LLaVA's is 0.2"] = 0.2
    max_tokens: Annotated[int, "longest review"] = 1024
    concurrency: Annotated[int, "reviews that are asked for at once"] = 4
    attempts: Annotated[int, "times a review is asked for that the judge's server fails at"] = 5
    patience: Annotated[
        float, "seconds without any review, of a judge that is away or busy, before the end"
    ] = 300.0
    seed: Annotated[int, "of the draws behind the interval of the relative score"] = 0
    out: Annotated[Path, "folder of the reviews and the report; the same run goes on in it"]
    log_level: Annotated[LogLevel, "least severe message to log"] = "warning"

    def __post_init__(self) -> None:
        args.require_http(self, "judge")
        args.require_positive(self, "max_tokens", "concurrency", "attempts", "patience")
        args.require_not_negative(self, "seed")
        if len(self.answers) != 2:
            raise ValueError(f"--answers takes two files, not {len(self.answers)}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"--temperature must not be negative: {self.temperature}")
        if not self.judge_model.strip():
            raise ValueError("--judge-model must not be empty")
        _ = self.fields

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of `--judge-fields`.

        Raises:
            ValueError: it is no JSON object, or holds a field that the review sets itself.
        """
        try:
            fields = json.loads(self.judge_fields)
        except ValueError as exc:
            raise ValueError(f"--judge-fields is no JSON: {exc}") from exc
        if not isinstance(fields, dict):
            raise ValueError("--judge-fields takes a JSON object, such as '{\"top_p\": 0.5}'")
        own = sorted(
            fields.keys() & {"model", "messages", "system", "stream", "stream_options", "n"}
        )
        if own:
            raise ValueError(f"--judge-fields cannot set {own[0]}, which the review sets itself")
        return fields
