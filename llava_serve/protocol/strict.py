"""Strict bodies: every field is supported or refused by name, the rule of the native wire."""

from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from llava_serve.errors import InvalidField, UnsupportedField

_UNSUPPORTED = "unsupported_field"
_LONGEST = 200  # of what an error calls a field, whose name is the client's
Neutral = dict[str, tuple[Any, ...]]
ANYTHING: tuple[Any, ...] = ("anything",)  # as a field's neutral values: whatever stands in it


class Strict(BaseModel):
    """A body whose unknown fields are errors.

    `neutral` has the fields that the wire knows and no engine supports, each with the values that
    ask for nothing: with one of these a field passes as if it were left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    neutral: ClassVar[Neutral] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_neutral(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        for field, values in cls.neutral.items():
            if field in body and values is not ANYTHING and body[field] not in values:
                detail = f"{body[field]!r:.80} is not supported by this server"
                raise unsupported(field, detail)
        return {field: value for field, value in body.items() if field not in cls.neutral}


Body = TypeVar("Body", bound=BaseModel)


def unsupported(field: str, detail: str) -> PydanticCustomError:
    """Return what a validator of a whole body raises for a field that is not supported."""
    return PydanticCustomError(_UNSUPPORTED, "{detail}", {"field": field, "detail": detail})


def parse_body(kind: type[Body], content: Any) -> Body:
    """Check a decoded JSON body.

    Raises:
        UnsupportedField: a known field asks for something this stack does not do.
        InvalidField: a field is missing, unknown or out of range.
    """
    if not isinstance(content, dict):
        raise InvalidField("body", "must be a JSON object")
    try:
        return kind.model_validate(content)
    except ValidationError as exc:
        raise refusal_of(exc, content) from exc


def refusal_of(exc: ValidationError, body: Any) -> InvalidField | UnsupportedField:
    """Return the first fault that a decoded `body` has, named by its path."""
    first = exc.errors(include_url=False)[0]
    if first["type"] == _UNSUPPORTED:
        context = first["ctx"]
        path = _path((*first["loc"], context["field"]), body)
        return UnsupportedField(path, context["detail"])
    return InvalidField(_path(first["loc"], body) or "body", _reason(first))


def _reason(error: ErrorDetails) -> str:
    """Return what is wrong; of a `type` pydantic speaks of unions and their tags."""
    if error["type"] == "union_tag_invalid":
        context = error["ctx"]
        known = context["expected_tags"].replace("', '", "' or '")
        return f"the type {context['tag']!r:.80} is not known here; it must be {known}"
    if error["type"] == "union_tag_not_found":
        return "has no type"
    return error["msg"]


def _path(location: tuple[int | str, ...], body: Any) -> str:
    """Name a field by its path; tags of unions, which stand between, are nothing in the body."""
    *way, field = location or ("",)
    path: list[int | str] = []
    at, tagged = body, None
    for step in way:
        is_index = isinstance(at, list) and isinstance(step, int)
        if isinstance(at, dict) and at is not tagged and _is_tag(step, at):
            tagged = at  # a field of the same name comes behind the tag
        elif is_index or (isinstance(at, dict) and step in at):
            at = at[step]
            path.append(step)
    return ".".join(map(str, (*path, field)))[:_LONGEST]


def _is_tag(step: int | str, body: dict[str, Any]) -> bool:
    """Whether a step into `body` is its tag: a `function` within one is no choice of a union."""
    return step == body.get("type") and not (step == "function" and step in body)
