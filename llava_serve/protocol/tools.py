"""Tools of a request: functions that a model may call, and calls of them, in OpenAI's words."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError, from_json

from llava_serve.protocol.strict import Neutral, Strict

MOST_TOOLS = 128  # as OpenAI takes
FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class FunctionDefinition(Strict):
    """`parameters` is the JSON schema of an object; without it the function takes none."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Strict):
    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(Strict):
    name: FunctionName


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


def known_choice(choice: Any) -> Any:
    """Return a choice that is a word or an object, of which the wire checks the rest."""
    if isinstance(choice, dict) or choice in ("none", "auto", "required"):
        return choice
    raise PydanticCustomError(
        "tool_choice", "must be 'none', 'auto', 'required', or the one function to call"
    )


# A word or an object, told apart beforehand, so that an error is about what the caller chose.
ToolChoice = Annotated[
    Literal["none", "auto", "required"] | NamedTool, BeforeValidator(known_choice)
]


def arguments_of(text: str) -> dict[str, Any] | None:
    """Return the arguments of a call, which are written as JSON; None: they are no object."""
    try:
        values = from_json(text or "{}")  # strict, so that all of it can be encoded
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _json_object(arguments: str) -> str:
    if arguments_of(arguments) is None:
        raise PydanticCustomError("tool_arguments", "must be a JSON object, written as a string")
    return arguments


class FunctionCall(Strict):
    name: FunctionName
    arguments: Annotated[str, AfterValidator(_json_object)]

    @property
    def values(self) -> dict[str, Any]:
        return arguments_of(self.arguments) or {}


class FunctionToolCall(Strict):
    """A call that the assistant made, as a client gives it back."""

    neutral: ClassVar[Neutral] = {"index": (None, *range(MOST_TOOLS))}

    id: Annotated[str, Field(min_length=1)]
    type: Literal["function"] = "function"
    function: FunctionCall
