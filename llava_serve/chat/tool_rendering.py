"""Tools, calls and results as chat templates take them: in the form of transformers."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from llava_serve.request import Message
from llava_serve.tools import Tool, ToolCall

Guard = Callable[[str], str]  # what stands for a client's text while a template renders
_SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")  # all that Mistral's templates take


def shown_tools(tools: Iterable[Tool], guard: Guard) -> list[dict[str, Any]]:
    """Return tools as JSON schemas, each text of them guarded."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                **({} if tool.description is None else {"description": guard(tool.description)}),
                "parameters": _guarded(tool.parameters, guard),
            },
        }
        for tool in tools
    ]


def shown_calls(message: Message, guard: Guard) -> dict[str, Any]:
    """Return what calls add to a message of the assistant; nothing without calls.

    Templates ask whether the field is there.
    """
    if not message.tool_calls:
        return {}
    return {"tool_calls": [_call(call, guard) for call in message.tool_calls]}


def shown_result(message: Message, messages: Sequence[Message]) -> dict[str, str]:
    """Return what says of which call a message of a tool is the result; nothing for others."""
    if message.tool_call_id is None:
        return {}
    calls = [call for said in messages for call in said.tool_calls]
    names = [call.name for call in calls if call.id == message.tool_call_id]
    named = {"name": names[-1]} if names else {}
    return {"tool_call_id": _short_id(message.tool_call_id), **named}


def _call(call: ToolCall, guard: Guard) -> dict[str, Any]:
    function = {"name": call.name, "arguments": _guarded(call.arguments, guard)}
    return {"id": _short_id(call.id), "type": "function", "function": function}


def _short_id(call_id: str) -> str:
    if _SHORT_ID.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode(errors="replace")).hexdigest()[:9]


def _guarded(value: Any, guard: Guard) -> Any:
    if isinstance(value, str):
        return guard(value)
    if isinstance(value, dict):
        return {guard(name): _guarded(each, guard) for name, each in value.items()}
    return [_guarded(each, guard) for each in value] if isinstance(value, list) else value
