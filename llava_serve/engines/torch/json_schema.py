"""JSON schemas whose answers cannot be guaranteed, or that would take too long to compile."""

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from llava_serve.errors import InvalidField

# Each pair is compared: 64 take about a second.
_MOST_PATTERN_PROPERTIES = 64
# Remainders are states: all divisors together may have so many.
_MOST_REMAINDERS = 5000
_VALUES = ("const", "enum", "default", "examples")  # keywords whose values are no schemas


def check_schema(field: str, schema: dict[str, Any]) -> None:
    """Check what the grammar library does not: it refuses by name the keywords it does not know.

    Raises:
        InvalidField: the schema of `field` has a keyword that cannot be kept to.
    """
    patterns, divisors = 0, set[int]()
    for part in _parts(schema):
        if (keyword := _ignored_keyword(part)) is not None:
            raise InvalidField(field, f"has a schema with {keyword}, which cannot be guaranteed")
        if isinstance(properties := part.get("patternProperties"), dict):
            patterns += len(properties)
        if isinstance(divisor := part.get("multipleOf"), int | float):
            divisors.add(int("".join(map(str, Decimal(str(divisor)).as_tuple().digits))))
    if patterns > _MOST_PATTERN_PROPERTIES:
        raise InvalidField(
            field, f"has {patterns} patternProperties; at most {_MOST_PATTERN_PROPERTIES} are taken"
        )
    if math.prod(divisors) > _MOST_REMAINDERS:
        raise InvalidField(field, "has values of multipleOf with too many digits in all")


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for each in schema:
            yield from _parts(each)
    if isinstance(schema, dict):
        yield schema
        for name, each in schema.items():
            if name not in _VALUES:
                yield from _parts(each)


def _ignored_keyword(part: dict[str, Any]) -> str | None:
    """Return a keyword that the library takes and does not keep to.

    Names of further properties may repeat in an object, which then has fewer once it is read.
    """
    least, required = part.get("minProperties"), part.get("required")
    named = len(required) if isinstance(required, list) else 0
    if isinstance(least, int | float) and least > max(named, 1):
        return "minProperties above 1 and above the number of required properties"
    if isinstance(part.get("items"), list) and part.get("additionalItems", True) is not True:
        return "additionalItems"
    return None
