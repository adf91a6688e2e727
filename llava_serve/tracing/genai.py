"""Attributes of spans by OpenTelemetry's conventions for generative AI.

Source: opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans, "Inference", of version 1.41. What
they have no name for begins with `llava.`.
"""

from llava_serve.tracing.span import Attributes


def name_of(model: str) -> str:
    """Return the name of a span that asks a model."""
    return f"chat {model}"


def of_model(model: str, request_id: str) -> dict[str, str]:
    """Return who is asked, for what."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "llava_serve",
        "gen_ai.request.model": model,
        "gen_ai.response.id": request_id,
        "gen_ai.response.model": model,
    }


def of_usage(prompt_tokens: int, completion_tokens: int) -> Attributes:
    """Return the tokens of a request."""
    return {
        "gen_ai.usage.input_tokens": prompt_tokens,
        "gen_ai.usage.output_tokens": completion_tokens,
    }
