"""Grammar of an answer that may call tools, or must: its text and its calls as Lark rules."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llava_serve.chat.tool_calls import LLAMA, Hole, ToolCallFormat
from llava_serve.errors import InvalidField
from llava_serve.request import Conversation, GenerateRequest
from llava_serve.tools import Tool, ToolChoice

_MOST_CALLS = 16  # in one answer: a model at a loss would go on until its tokens are spent
JsonRule = Callable[[str, dict[str, Any]], str]  # of a field's schema


def tools_of(request: GenerateRequest) -> tuple[Tool, ...]:
    """Return the tools that the answer may call."""
    return request.prompt.tools if isinstance(request.prompt, Conversation) else ()


def constrains_tools(request: GenerateRequest) -> bool:
    """Whether a request asks more of the answer's calls than that they can be read."""
    tools, choice = tools_of(request), request.sampling.tool_choice
    if not tools:
        return False
    return choice.is_required or not choice.is_parallel or any(tool.is_strict for tool in tools)


class ToolGrammar:
    """Writes the rules for one format of calls.

    `special` has the tokens that no text can be, by what the vocabulary calls them.
    """

    def __init__(
        self, call_format: ToolCallFormat, special: Mapping[str, int], json_rule: JsonRule
    ) -> None:
        self._call_format = call_format
        self._special = special
        self._json_rule = json_rule
        names = sorted(special, key=len, reverse=True)
        self._pattern = re.compile(f"({'|'.join(map(re.escape, names))})") if names else None

    def rules(self, tools: tuple[Tool, ...], choice: ToolChoice, text: str | None) -> str:
        """Return the rules, of which `start` is the first.

        What is no call follows the rule `text`, or is any text where that is None.

        Raises:
            InvalidField: the parameters of a tool are no schema of an object.
        """
        numbered = [
            (f"call_{number}", tool, f"tools.{number}.function.parameters")
            for number, tool in enumerate(tools)
            if choice.name in (None, tool.name)
        ]
        several = (
            choice.is_parallel and choice.name is None and self._call_format.separator is not None
        )
        more = f"(more call){{0,{_MOST_CALLS - 1}}}" if several else ""
        lines = [
            *self._start(choice, text),
            f"calls: call {more} end",
            f"call: {' | '.join(rule for rule, _, _ in numbered)}",
            *(f"{rule}: {self._call(tool, field)}" for rule, tool, field in numbered),
            f"end: {self._literal(self._call_format.end)}",
        ]
        if several:
            lines.append(f"more: {self._literal(self._call_format.separator or '')}")
        return "\n".join(lines) + "\n"

    def _start(self, choice: ToolChoice, text: str | None) -> Iterator[str]:
        mark, begin = self._call_format.mark, self._literal(self._call_format.begin)
        if choice.is_required:
            yield f"start: {begin} calls"
        elif text is not None:
            yield f"start: {text} | {begin} calls"
        elif mark in ("", LLAMA):
            yield f"start: TEXT | {begin} calls"
            yield r"TEXT: /\s*([^\s{](?s:.*))?/"
        elif mark in self._special:
            yield f"start: TEXT | TEXT? {begin} calls"
            yield "TEXT: /(?s:.*)/"
        else:
            rest = self._literal(self._call_format.begin.partition(mark)[2])
            yield f"start: TEXT | text_and_mark {rest} calls"
            yield f"text_and_mark[suffix={json.dumps(mark)}]: /(?s:.*)/"
            yield f"TEXT: /(?s:.*)/ & ~/(?s:.*){re.escape(mark)}(?s:.*)/"

    def _call(self, tool: Tool, field: str) -> str:
        holes = {
            Hole.NAME: lambda: self._literal(tool.name),
            Hole.ARGUMENTS: lambda: self._json_rule(field, _object_schema(field, tool)),
        }
        return " ".join(
            holes[each]() if isinstance(each, Hole) else self._literal(each)
            for each in self._call_format.shape
        )

    def _literal(self, text: str) -> str:
        pieces = self._pattern.split(text) if self._pattern else [text]
        shown = (
            f"<[{self._special[piece]}]>" if at % 2 else json.dumps(piece)
            for at, piece in enumerate(pieces)
            if piece
        )
        return " ".join(shown) or '""'


def _object_schema(field: str, tool: Tool) -> dict[str, Any]:
    schema = {"type": "object", **tool.parameters}
    if schema["type"] != "object":
        raise InvalidField(field, f"is a schema of {schema['type']!r:.40}, and arguments an object")
    return schema
