"""Tools of native requests: checked against a model, and in the engine's own words."""

from llava_serve.errors import InvalidField, UnsupportedField
from llava_serve.protocol.model_card import ModelCard
from llava_serve.protocol.openai import ChatRequest
from llava_serve.protocol.tools import NamedTool
from llava_serve.tools import Tool, ToolChoice

_NO_TOOLS = (
    "the chat template of this model shows none, or writes calls in a format that is not known "
    "here; whoever runs its worker can give it another one, with --chat-template FILE"
)
_NO_PARSER = (
    "the SGLang server behind this model must run with --tool-call-parser NAME and a chat template "
    "that shows them, and its worker without --conv-mode"
)


def check_tools(body: ChatRequest, card: ModelCard) -> None:
    """Check what a request says of tools against the model behind `card`.

    Raises:
        UnsupportedField: this model cannot call tools.
        InvalidField: two fields contradict each other.
    """
    if "tools" not in card.supported_params:
        reason = _NO_PARSER if card.engine == "sglang" else _NO_TOOLS
        if body.tools:
            raise UnsupportedField("tools", f"cannot be called: {reason}")
        for place, message in enumerate(body.messages):
            if message.tool_calls or message.role == "tool":
                field = "tool_calls" if message.tool_calls else "role"
                raise UnsupportedField(f"messages.{place}.{field}", f"speaks of tools; {reason}")
    names = [tool.function.name for tool in body.tools or ()]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise InvalidField(f"tools.{at}.function.name", f"is taken: {name!r} is another tool")
    choice = body.tool_choice
    if choice == "required" and not names:
        raise InvalidField("tool_choice", "asks for a call, and there are no tools")
    if isinstance(choice, NamedTool) and choice.function.name not in names:
        raise InvalidField("tool_choice", f"names {choice.function.name!r}, which is none of tools")


def tools_of(body: ChatRequest) -> tuple[Tool, ...]:
    """Return the tools that the prompt shows."""
    nothing = {"type": "object", "properties": {}}
    functions = [tool.function for tool in body.tools or ()]
    return tuple(
        Tool(each.name, each.parameters or nothing, each.description, bool(each.strict))
        for each in functions
    )


def tool_choice_of(body: ChatRequest) -> ToolChoice:
    """Return which of them the answer calls."""
    choice = body.tool_choice
    return ToolChoice(
        is_required=choice == "required" or isinstance(choice, NamedTool),
        name=choice.function.name if isinstance(choice, NamedTool) else None,
        is_parallel=body.parallel_tool_calls is not False,
    )
