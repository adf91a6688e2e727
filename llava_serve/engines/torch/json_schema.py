"""JSON schemas: those that cannot be guaranteed or take too long, and what others leave open."""

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from llava_serve.errors import InvalidField

# Each pair is compared: 64 take about a second.
_MOST_PATTERN_PROPERTIES = 64
# Remainders are states: all divisors together may have so many.
_MOST_REMAINDERS = 5000
# What speaks of properties that are not listed.
_SAYS_OTHERS = frozenset(
    ("additionalProperties", "minProperties", "patternProperties", "unevaluatedProperties")
)
_LARGEST = 2**53  # the grammar library reads numbers as floats
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "const", "enum")
_VALUES = ("const", "enum", "default", "examples")  # keywords whose values are no schemas
# Keywords whose values are schemas by names, which may be those of keywords.
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def check_schema(field: str, schema: dict[str, Any]) -> None:
    """Check what the grammar library does not: it refuses by name the keywords it does not know.

    Raises:
        InvalidField: the schema of `field` has a keyword that cannot be kept to.
    """
    patterns, divisors = 0, set[int]()
    for part in _parts(schema):
        if (keyword := _ignored_keyword(part)) is not None:
            raise InvalidField(field, f"has a schema with {keyword}, which cannot be guaranteed")
        if any(abs(number) > _LARGEST for number in _numbers(part)):
            raise InvalidField(field, "has a schema with a number beyond 2**53, which is not exact")
        if isinstance(properties := part.get("patternProperties"), dict):
            patterns += len(properties)
        if isinstance(divisor := part.get("multipleOf"), int | float):
            if isinstance(divisor, bool) or not 0 < divisor < math.inf:
                raise InvalidField(field, "has a multipleOf that is no number above 0")
            divisors.add(int("".join(map(str, Decimal(str(divisor)).as_tuple().digits))))
    if patterns > _MOST_PATTERN_PROPERTIES:
        raise InvalidField(
            field, f"has {patterns} patternProperties; at most {_MOST_PATTERN_PROPERTIES} are taken"
        )
    if math.prod(divisors) > _MOST_REMAINDERS:
        raise InvalidField(field, "has values of multipleOf with too many digits in all")


def closed(schema: Any) -> Any:
    """Return a schema whose objects have the properties that they list, and no others.

    JSON Schema leaves them open, and a model that is at a loss adds properties until its tokens are
    spent. What follows the closed schema follows the one that was asked for. Objects stay open that
    need others, or say what others are; all do where some keywords add to the properties of others.
    """
    if any(_adds_up(part) for part in _parts(schema)):
        return schema
    return _closed(schema)


def _adds_up(part: dict[str, Any]) -> bool:
    several = [part.get(keyword) for keyword in ("allOf", "anyOf", "oneOf")]
    merged = any(isinstance(each, list) for each in several) or "$ref" in part
    all_of = part.get("allOf")
    return (isinstance(all_of, list) and len(all_of) > 1) or (merged and "properties" in part)


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    part = {name: _closed_value(name, each) for name, each in schema.items()}
    listed = part.get("properties") if part.get("type") == "object" else None
    if (
        isinstance(listed, dict)
        and _SAYS_OTHERS.isdisjoint(part)
        and all(name in listed for name in _required(part) if isinstance(name, str))
    ):
        part["additionalProperties"] = False
    return part


def _closed_value(keyword: str, value: Any) -> Any:
    if keyword in _BY_NAME and isinstance(value, dict):
        return {name: _closed(each) for name, each in value.items()}
    return value if keyword in _VALUES else _closed(value)


def _required(part: dict[str, Any]) -> list[str]:
    required = part.get("required")
    return required if isinstance(required, list) else []


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for each in schema:
            yield from _parts(each)
    if isinstance(schema, dict):
        yield schema
        for name, each in schema.items():
            if name in _BY_NAME and isinstance(each, dict):
                yield from _parts(list(each.values()))
            elif name not in _VALUES:
                yield from _parts(each)


def _numbers(part: dict[str, Any]) -> Iterator[float]:
    """Yield the numbers that an answer is compared with, or may be."""
    left = [part[keyword] for keyword in _NUMBERS if keyword in part]
    while left:
        value = left.pop()
        if isinstance(value, int | float):
            yield value
        elif isinstance(value, list | dict):
            left += value.values() if isinstance(value, dict) else value


def _ignored_keyword(part: dict[str, Any]) -> str | None:
    """Return a keyword that the library takes and does not keep to.

    Names of further properties may repeat in an object, which then has fewer once it is read.
    """
    least, named = part.get("minProperties"), len(_required(part))
    if isinstance(least, int | float) and least > max(named, 1):
        return "minProperties above 1 and above the number of required properties"
    if isinstance(part.get("items"), list) and part.get("additionalItems", True) is not True:
        return "additionalItems"
    return None
