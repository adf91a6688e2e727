"""Tool calls as a chat template writes them, learned from what it makes of an example."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from jinja2 import TemplateError

from llava_serve.request import Message
from llava_serve.tools import Tool, ToolCall

# Renders a conversation with tools; one that ends with a question, up to where the answer begins.
RenderTools = Callable[[tuple[Message, ...], tuple[Tool, ...]], str]


class Hole(Enum):
    """What differs from call to call."""

    NAME = "name"
    ARGUMENTS = "arguments"


@dataclass(frozen=True, slots=True)
class ToolCallFormat:
    """How calls look in an answer: `begin`, calls between `separator`, `end`.

    `shape` is one call: a JSON object with a name and the arguments. `mark` tells calls from other
    text; where it is empty the answer is a call or it is text. Without a `separator` an answer has
    one call at most.
    """

    mark: str
    begin: str
    shape: tuple[str | Hole, ...]
    separator: str | None
    end: str


# Marks of the families whose calls are JSON: Hermes, as Qwen, and Mistral; Llama 3 may have one.
# Source: vllm 0.11, docs/features/tool_calling.md.
HERMES, MISTRAL, LLAMA = "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>"
_ENDS = {HERMES: "\n</tool_call>", MISTRAL: "]", LLAMA: "", "": ""}

_NAME, _KEY = (f"probe{secrets.token_hex(8)}" for _ in range(2))
_NAMED = rf'"name"\s*:\s*"{_NAME}"'
_VALUES = rf'\{{"{_KEY}": ?1\}}'
_GIVEN = rf'"(?:arguments|parameters)"\s*:\s*{_VALUES}'
_ID = r'\s*,\s*"id"\s*:\s*"\w+"'
_CALL = re.compile(rf"\{{\s*(?:{_NAMED}\s*,\s*{_GIVEN}|{_GIVEN}\s*,\s*{_NAMED})(?:{_ID})?\s*\}}")
_TOOLS = (Tool(_NAME, {"type": "object", "properties": {}}, "An example."),)


def learn_format(render: RenderTools) -> ToolCallFormat | None:
    """Return how a template writes calls; None: it shows no tools, or no format known here."""
    try:
        opening = render(_messages(0), _TOOLS)
        if _NAME not in opening:
            return None
        one = render(_messages(1), _TOOLS)
    except (TemplateError, TypeError):
        return None
    call = _CALL.search(one, len(opening)) if one.startswith(opening) else None
    if call is None:
        return None
    begin = one[len(opening) : call.start()]
    mark = next((each for each in (HERMES, MISTRAL, LLAMA) if each in begin), "")
    if begin.strip() and not mark:
        return None
    separator = _separator(render) if mark in (HERMES, MISTRAL) else None
    return ToolCallFormat(mark, begin, _shape(call[0]), separator, _ENDS[mark])


def _shape(call: str) -> tuple[str | Hole, ...]:
    pieces = re.split(f"({_NAME}|{_VALUES})", re.sub(_ID, "", call))
    holes = {_NAME: Hole.NAME}
    return tuple(
        piece if at % 2 == 0 else holes.get(piece, Hole.ARGUMENTS)
        for at, piece in enumerate(pieces)
    )


def _separator(render: RenderTools) -> str | None:
    try:
        two = render(_messages(2), _TOOLS)
    except TemplateError:
        return None
    *_, last_but_one, last = _CALL.finditer(two)
    return two[last_but_one.end() : last.start()]


def _messages(num_calls: int) -> tuple[Message, ...]:
    question = Message("user", ("probe",))
    if not num_calls:
        return (question,)
    calls = tuple(ToolCall(f"call0000{n}", _NAME, {_KEY: 1}) for n in range(num_calls))
    results = (Message("tool", ("1",), tool_call_id=call.id) for call in calls)
    return (question, Message("assistant", (), calls), *results)
