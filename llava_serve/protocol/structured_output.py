"""Structured outputs: JSON, or what a regular expression matches, as OpenAI and vLLM ask for it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import PydanticCustomError, from_json

from llava_serve.protocol.strict import Strict

# vLLM's older fields, each with what it is called within `structured_outputs`, its newer one.
_OLDER = {"guided_json": "json", "guided_regex": "regex", "guided_choice": "choice"}
_NEWER = "structured_outputs"
_WRONG = {
    "choice": "has a choice that is no list of texts, of which there is at least one",
    "json_object": "has a json_object that is not true",
}
_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")  # in a regular expression of any dialect


class PlainText(Strict):
    type: Literal["text"]


class AnyJson(Strict):
    type: Literal["json_object"]


class JsonSchema(Strict):
    """`strict` false is taken as true: the answer always follows the schema."""

    name: str
    description: str | None = None
    content: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class JsonOfSchema(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[PlainText | AnyJson | JsonOfSchema, Field(discriminator="type")]


def with_native_format(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with a `response_format` or a `regex` in place of vLLM's fields.

    Raises:
        PydanticCustomError: it asks for two kinds of them, or for one that is not known here.
    """
    rest = dict(body)
    asked = {newer: rest.pop(older, None) for older, newer in _OLDER.items()}
    newest = rest.pop(_NEWER, None)
    if isinstance(newest, dict):
        asked |= {key: value for key, value in newest.items() if asked.get(key) is None}
    elif newest is not None:
        raise PydanticCustomError("structured_output", f"{_NEWER} must be an object")
    kinds = {key: value for key, value in asked.items() if value not in (None, False)}
    if not kinds:
        return rest
    if len(kinds) > 1 or rest.get("response_format") or rest.get("regex"):
        raise PydanticCustomError(
            "structured_output", "asks for more than one kind of structured output"
        )
    ((kind, value),) = kinds.items()
    return rest | _native(kind, value)


def _decoded(schema: Any) -> Any:
    """Return a schema that may be sent as JSON in a string."""
    if not isinstance(schema, str):
        return schema
    try:
        return from_json(schema)
    except ValueError as exc:
        reason = f"has a schema that is no JSON: {exc}"
        raise PydanticCustomError("structured_output", "{reason}", {"reason": reason}) from exc


def _native(kind: str, value: Any) -> dict[str, Any]:
    if kind == "json":
        schema = {"name": "answer", "schema": _decoded(value)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if kind == "json_object" and value is True:
        return {"response_format": {"type": "json_object"}}
    if kind == "regex":
        return {"regex": value}
    if kind == "choice" and isinstance(value, list) and value:
        choices = [_SPECIAL.sub(r"\\\g<0>", each) for each in value if isinstance(each, str)]
        if len(choices) == len(value):
            return {"regex": "|".join(f"({each})" for each in choices)}
    reason = _WRONG.get(kind, f"is asked for {kind}; json, regex, choice and json_object are known")
    raise PydanticCustomError("structured_output", "{reason}", {"reason": reason})
