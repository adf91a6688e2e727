"""Tools and calls of requests, as chat completions have them, and where they come from."""

import json
from collections.abc import Mapping
from typing import Any

from llava_serve.adapters.adapter import AdaptedPart


def as_function(**fields: Any) -> dict[str, Any]:
    """Return a tool, given the fields of its function; those that are None are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    return {"type": "function", "function": given}


def named_choice(name: str | None) -> dict[str, Any]:
    """Return the choice of one function."""
    return {"type": "function", "function": {"name": name}}


def tool_sources(num_tools: int, parameters: str) -> dict[str, str]:
    """Return where the fields of tools stand that a protocol has flat, `parameters` as it says."""
    sources = {}
    for at in range(num_tools):
        path = f"tools.{at}"
        sources[f"{path}.function"] = path
        for name in ("name", "description", "strict"):
            sources[f"{path}.function.{name}"] = f"{path}.{name}"
        sources[f"{path}.function.parameters"] = f"{path}.{parameters}"
    return sources


def adapted_call(
    source: str, call_id: str, name: str, arguments: str | Mapping[str, Any], /, **fields: str
) -> AdaptedPart:
    """Return a call; `fields` are those at `source` that its id, name and arguments stand in."""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    function = {"name": name, "arguments": arguments}
    body = {"id": call_id, "type": "function", "function": function}
    own = {"id": "id", "name": "function.name", "arguments": "function.arguments"}
    return AdaptedPart(body, source, {own[field]: path for field, path in fields.items()})
