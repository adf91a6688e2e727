"""Objects that list their properties are closed to others, where an answer is left."""

from typing import Any

import pytest

from llava_serve.engines.torch.json_schema import closed

TEXT = {"type": "string"}
POINT = {"type": "object", "properties": {"x": TEXT}, "required": ["x"]}
CLOSED = POINT | {"additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (POINT, CLOSED),
        ({"type": "array", "items": POINT}, {"type": "array", "items": CLOSED}),
        (
            {"$defs": {"p": POINT}, "$ref": "#/$defs/p"},
            {"$defs": {"p": CLOSED}, "$ref": "#/$defs/p"},
        ),
        ({"anyOf": [POINT, TEXT]}, {"anyOf": [CLOSED, TEXT]}),
        ({"properties": {"default": POINT}}, {"properties": {"default": CLOSED}}),
    ],
)
def test_an_object_has_the_properties_that_it_lists(schema: Any, expected: Any) -> None:
    assert closed(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        POINT | {"additionalProperties": True},
        POINT | {"patternProperties": {"^y": TEXT}},
        POINT | {"required": ["x", "y"]},
        POINT | {"minProperties": 2},
        {"allOf": [POINT, {"type": "object", "properties": {"y": TEXT}}]},
        {"type": "object", "properties": {"y": TEXT}, "anyOf": [POINT, TEXT]},
        {"$defs": {"p": POINT}, "$ref": "#/$defs/p", "properties": {"y": TEXT}},
        {"const": POINT},
    ],
)
def test_an_object_stays_open_that_says_so_or_needs_others(schema: Any) -> None:
    assert closed(schema) == schema
