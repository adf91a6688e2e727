"""Tools of a request in SGLang's words, and what its server cannot do beside them."""

from llava_serve.chat.tool_rendering import shown_tools
from llava_serve.engines.sglang.client import Body
from llava_serve.engines.sglang.served import Served
from llava_serve.errors import UnsupportedField
from llava_serve.request import Conversation, SamplingParams

_NO_TOOLS = (
    "are not called by the model of this SGLang server: start it with --tool-call-parser NAME, and "
    "with a chat template that shows tools"
)
_NO_LOGPROBS = (
    "are not told beside `tools`: an SGLang server that reads calls tells them behind their text"
)
_NO_FORM = (
    "would keep the answer to its form, and the SGLang server would never call one of `tools`"
)


def check_tools(conversation: Conversation, sampling: SamplingParams, served: Served) -> None:
    """Check what a request with tools asks for against what the server does with them.

    Source: sglang 0.5.23, srt/entrypoints/openai/serving_chat.py and protocol.py.

    Raises:
        UnsupportedField: the server would ignore it without a word.
    """
    if not conversation.tools:
        return
    if not served.calls_tools:
        raise UnsupportedField("tools", _NO_TOOLS)
    if sampling.top_logprobs is not None:
        raise UnsupportedField("logprobs", _NO_LOGPROBS)
    if sampling.json_schema is not None:
        raise UnsupportedField("response_format", _NO_FORM)
    if sampling.regex is not None:
        raise UnsupportedField("regex", _NO_FORM)


def tools_body(conversation: Conversation) -> Body:
    """Return the field that shows a conversation's tools; nothing without any."""
    if not conversation.tools:
        return {}
    shown = shown_tools(conversation.tools, str)
    for tool, body in zip(conversation.tools, shown, strict=True):
        if tool.is_strict:
            body["function"]["strict"] = True
    return {"tools": shown}


def choice_body(conversation: Conversation, sampling: SamplingParams) -> Body:
    """Return the fields that say which tools the answer calls; nothing without any.

    A tool that must be called stands alone: the server's template shows no other one then, but its
    grammar would let the answer call each that it was told.
    """
    if not conversation.tools:
        return {}
    choice = sampling.tool_choice
    named = tuple(tool for tool in conversation.tools if tool.name == choice.name)
    body: Body = {"tool_choice": "required" if choice.is_required else "auto"}
    if named:
        body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
        body |= tools_body(Conversation((), tools=named))
    if not choice.is_parallel:
        body["parallel_tool_calls"] = False
    # Where there are tools the server shows special tokens, and so the one that ends the answer.
    return body | {"no_stop_trim": False}
