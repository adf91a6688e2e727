"""Tools of a request in SGLang's words, and what its server cannot do beside them."""

from dataclasses import replace

from llava_serve.chat.tool_rendering import shown_tools
from llava_serve.engines.sglang.client import Body
from llava_serve.errors import UnsupportedField
from llava_serve.request import Conversation, SamplingParams

_NO_LOGPROBS = (
    "are not told beside `tools`: an SGLang server that reads calls tells them behind their text"
)
_NO_CALLS = (
    "would hold the whole answer to a format, and the SGLang server would never call one of `tools`"
)


def check_beside_tools(conversation: Conversation, sampling: SamplingParams) -> None:
    """Check what a request with tools asks for besides.

    Source: sglang 0.5.23, srt/entrypoints/openai/serving_chat.py and protocol.py.

    Raises:
        UnsupportedField: the server would do it wrongly, or without the tools.
    """
    if not conversation.tools:
        return
    if sampling.top_logprobs is not None:
        raise UnsupportedField("logprobs", _NO_LOGPROBS)
    if sampling.json_schema is not None:
        raise UnsupportedField("response_format", _NO_CALLS)
    if sampling.regex is not None:
        raise UnsupportedField("regex", _NO_CALLS)


def tools_body(conversation: Conversation) -> Body:
    """Return the field that shows a conversation's tools; nothing without any."""
    if not conversation.tools:
        return {}
    shown = shown_tools(conversation.tools, str)
    for tool, body in zip(conversation.tools, shown, strict=True):
        if tool.is_strict:
            parameters = {"type": "object", **tool.parameters}
            body["function"] |= {"parameters": parameters, "strict": True}
    return {"tools": shown}


def choice_body(conversation: Conversation, sampling: SamplingParams) -> Body:
    """Return the fields that say which tools the answer calls; nothing without any.

    What must be called is strict: the server would take any JSON for its arguments, as a number. A
    tool that is named stands alone: the server's template shows no other one then, but its grammar
    would let the answer call each.
    """
    if not conversation.tools:
        return {}
    choice = sampling.tool_choice
    body: Body = {"tool_choice": "required" if choice.is_required else "auto"}
    if choice.is_required:
        callable_tools = [
            replace(tool, is_strict=True)
            for tool in conversation.tools
            if choice.name in (None, tool.name)
        ]
        body |= tools_body(replace(conversation, tools=tuple(callable_tools)))
    if choice.name is not None:
        body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    if not choice.is_parallel:
        body["parallel_tool_calls"] = False
    # Where there are tools the server shows special tokens, and so the one that ends the answer.
    return body | {"no_stop_trim": False}
