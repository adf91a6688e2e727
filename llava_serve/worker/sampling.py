"""Sampling fields of native requests: checked against a model, and in the engine's own words."""

import json
from typing import Any

from llava_serve.errors import InvalidField, ModelNotFound, UnsupportedField
from llava_serve.protocol.model_card import ModelCard, SamplingDefaults
from llava_serve.protocol.openai import FURTHER_FIELDS, SampledRequest
from llava_serve.protocol.structured_output import AnyJson, JsonOfSchema
from llava_serve.request import SamplingParams


def check_sampled(body: SampledRequest, card: ModelCard) -> None:
    """Check what all native requests have in common against the model behind `card`.

    Raises:
        ModelNotFound: it is for another model.
        UnsupportedField: it asks for what this model's engine does not do.
        InvalidField: two fields contradict each other.
    """
    if body.model != card.id:
        raise ModelNotFound(body.model, [card.id])
    for field, neutral in FURTHER_FIELDS.items():
        if (value := getattr(body, field)) not in neutral and field not in card.supported_params:
            raise UnsupportedField(
                field, f"{_shown(value)} is not supported by this model's engine"
            )
    if body.most_tokens is not None and (body.min_tokens or 0) > body.most_tokens:
        raise InvalidField("min_tokens", f"is above max_tokens, {body.most_tokens}")
    if body.regex is not None and body.response_format not in FURTHER_FIELDS["response_format"]:
        raise InvalidField("regex", "and response_format exclude each other")


def sampling_of(body: SampledRequest, defaults: SamplingDefaults) -> SamplingParams:
    """Translate OpenAI's names into the engine's; what is left out is the checkpoint's choice.

    A `top_p` of 0 leaves the most probable token alone, whatever the temperature: that is greedy.
    """
    temperature = defaults.temperature if body.temperature is None else body.temperature
    top_p = defaults.top_p if body.top_p is None else body.top_p
    return SamplingParams(
        temperature=temperature if top_p else 0.0,
        top_p=top_p or 1.0,
        top_k=defaults.top_k if body.top_k is None else body.top_k,
        repetition_penalty=body.repetition_penalty or 1.0,
        seed=body.seed,
        max_new_tokens=body.most_tokens,
        min_new_tokens=body.min_tokens or 0,
        top_logprobs=body.told_logprobs,
        tells_usage=bool(body.stream_options and body.stream_options.continuous_usage_stats),
        ignore_eos=bool(body.ignore_eos),
        stop=tuple(body.stop),
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        logit_bias=tuple((body.logit_bias or {}).items()),
        min_p=body.min_p or 0.0,
        json_schema=_schema_of(body.response_format),
        regex=body.regex,
    )


def _shown(value: Any) -> str:
    return f"{value.type!r}" if isinstance(value, AnyJson | JsonOfSchema) else f"{value!r:.80}"


def _schema_of(asked: object) -> str | None:
    if isinstance(asked, JsonOfSchema):
        return json.dumps(asked.json_schema.content)
    return json.dumps({"type": "object"}) if isinstance(asked, AnyJson) else None
