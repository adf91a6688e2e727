"""Trace of a generation: what its span says of the request, and a child for each stage."""

from collections.abc import Sequence

from llava_serve.request import FinishReason, SamplingParams, Stages, Usage
from llava_serve.tracing import genai
from llava_serve.tracing.span import Span


def describe_request(
    traced: Span, model: str, request_id: str, samplings: Sequence[SamplingParams]
) -> None:
    """Tell what is asked: all answers of a request are sampled alike."""
    traced.rename(genai.name_of(model))
    traced.set(genai.of_model(model, request_id))
    sampling = samplings[0]
    traced.set(
        {
            "gen_ai.request.choice.count": len(samplings),
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
        }
    )
    if sampling.max_new_tokens is not None:
        traced.set({"gen_ai.request.max_tokens": sampling.max_new_tokens})


def describe_answers(traced: Span, usage: Usage, reasons: Sequence[FinishReason]) -> None:
    """Tell what the answers took, and why each ended."""
    traced.set(genai.of_usage(usage.prompt_tokens, usage.completion_tokens))
    traced.set(
        {
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
            "llava.usage.image_tokens": usage.image_tokens,
            "gen_ai.response.finish_reasons": list(reasons),
        }
    )


def add_stages(
    traced: Span, index: int, since_media_s: float, queue_s: float, stages: Stages | None
) -> None:
    """Add the stages of answer `index`, which ends just now, back to back.

    It was `since_media_s` in the worker, after its media were read. An engine that tells no
    `stages` generates in one, after the request was `queue_s` in the worker's line.
    """
    if stages is None:
        backwards = [("generate", since_media_s - queue_s)]
    else:
        backwards = [
            ("decode", stages.decode_s),
            ("prefill", stages.prefill_s),
            ("vision", stages.vision_s),
        ]
    answer = {"llava.answer": index}
    ago_s = 0.0
    for name, lasted_s in backwards:
        ago_s += lasted_s
        if lasted_s > 0:
            traced.add_stage(name, ago_s, lasted_s, answer)
    traced.add_stage("queue", max(since_media_s, ago_s), max(since_media_s - ago_s, 0.0), answer)
