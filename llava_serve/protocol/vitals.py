"""Vitals of a worker: what it tells its controllers with each heartbeat, for operators to see."""

from typing import Annotated

from pydantic import BaseModel, Field

# A sum since the worker's start; small enough to be exact as a number of JavaScript.
Total = Annotated[int, Field(ge=0, lt=2**53)]
Word = Annotated[str, Field(max_length=60)]


class EngineVitals(BaseModel):
    """What an engine that keeps KV and image features has in its caches."""

    kv_tokens_total: Total
    kv_tokens_held: Total
    kv_tokens_cached: Total
    feature_bytes: Total
    feature_hits: Total
    feature_misses: Total


class Vitals(BaseModel):
    """Version, age and sums of tokens; LLaVA's workers tell none of it.

    `generated_tokens` grow while an answer is made. The tokens of prompts, and those of them that
    were in the prefix cache, are of finished requests.
    """

    version: Word
    uptime_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    precision: Word | None = None
    generated_tokens: Total = 0
    prompt_tokens: Total = 0
    cached_tokens: Total = 0
    engine: EngineVitals | None = None
