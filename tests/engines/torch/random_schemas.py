"""Random JSON schemas whose answers are short, however little sense a model makes."""

from random import Random
from typing import Any

_NAMES = ["color", "count", "Größe", "is_red", 'a "name"', "x/y", "list of things", "n"]
_FORMATS = ["date", "ipv4", "uuid"]  # a time may have any number of digits
_PATTERNS = ["^[a-z]{1,4}$", "^(red|blue) [0-9]{2}$", r"^\d{1,3}%$", "^é?[A-F]+!{1,2}$", "^$"]


def random_document(rng: Random) -> dict[str, Any]:
    """Draw a whole schema, with one that others may name."""
    return {"$defs": {"leaf": _plain(rng)}, **random_schema(rng)}


def random_schema(rng: Random, depth: int = 2) -> dict[str, Any]:
    """Draw a part of one; nested ones have a depth of at most `depth`."""
    if depth and rng.random() < 0.7:
        return rng.choice([_object, _object, _array, _union, _reference])(rng, depth)
    return _plain(rng)


def _string(rng: Random, _: int) -> dict[str, Any]:
    kind = rng.randrange(3)
    if kind == 0:
        return {"type": "string", "format": rng.choice(_FORMATS)}
    if kind == 1:
        return {"type": "string", "pattern": rng.choice(_PATTERNS), "maxLength": 9}
    least = rng.randrange(3)
    return {"type": "string", "minLength": least, "maxLength": least + rng.randrange(6)}


def _number(rng: Random, _: int) -> dict[str, Any]:
    low = rng.randrange(-50, 50)
    lower = rng.choice(["minimum", "exclusiveMinimum"])
    upper = rng.choice(["maximum", "exclusiveMaximum"])
    return {"type": "number", lower: low, upper: low + rng.randrange(1, 90), "multipleOf": 0.5}


def _integer(rng: Random, _: int) -> dict[str, Any]:
    low = rng.randrange(-1000, 1000)
    return {"type": "integer", "minimum": low, "maximum": low + rng.randrange(2000)}


def _choice(rng: Random, _: int) -> dict[str, Any]:
    values: list[Any] = ["red", "blue", 7, -0.5, None, True, {"a": [1]}, "zwölf", 'quote " here']
    if rng.random() < 0.2:
        return {"const": rng.choice(values)}
    return {"enum": rng.sample(values, rng.randint(1, 4))}


def _simple(rng: Random, _: int) -> dict[str, Any]:
    return rng.choice([{"type": "boolean"}, {"type": "null"}, {"type": ["boolean", "null"]}])


def _object(rng: Random, depth: int) -> dict[str, Any]:
    names = rng.sample(_NAMES, rng.randint(1, 3))
    schema: dict[str, Any] = {
        "type": "object",
        "title": "a thing",
        "properties": {name: random_schema(rng, depth - 1) for name in names},
        "required": rng.sample(names, rng.randint(0, len(names))),
        "additionalProperties": False,
    }
    if rng.random() < 0.2:
        more = {"patternProperties": {"^[A-Z]{1,3}$": _plain(rng)}, "maxProperties": len(names) + 2}
        schema |= {"required": names, **more}
    return schema


def _array(rng: Random, depth: int) -> dict[str, Any]:
    least = rng.randrange(3)
    schema: dict[str, Any] = {
        "type": "array",
        "items": random_schema(rng, depth - 1),
        "minItems": least,
        "maxItems": least + rng.randrange(3),
    }
    if rng.random() < 0.3:
        first = [_plain(rng) for _ in range(rng.randint(1, 2))]
        schema |= {"prefixItems": first, "items": False, "minItems": 0, "maxItems": 2}
    return schema


def _union(rng: Random, depth: int) -> dict[str, Any]:
    if rng.random() < 0.3:
        return {"oneOf": [_string(rng, 0), _integer(rng, 0), _object(rng, depth)]}
    return {"anyOf": [random_schema(rng, depth - 1) for _ in range(rng.randint(2, 3))]}


def _reference(_: Random, __: int) -> dict[str, Any]:
    return {"$ref": "#/$defs/leaf"}


def _plain(rng: Random) -> dict[str, Any]:
    return rng.choice([_string, _number, _integer, _choice, _simple])(rng, 0)
