"""Tools of OpenAI's Responses: functions; what OpenAI runs itself is refused by name.

Source: openai 3.51.0, openai/types/responses/function_tool_param.py, tool_choice_function_param.py.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, model_validator

from llava_serve.adapters.tools import as_function, named_choice
from llava_serve.protocol.strict import Neutral, Strict, unsupported
from llava_serve.protocol.tools import FunctionName, known_choice


class ResponsesTool(Strict):
    neutral: ClassVar[Neutral] = {
        "allowed_callers": (None, ["direct"]),
        "async": (None, False),
        "defer_loading": (None, False),
        "output_schema": (None,),
    }

    @model_validator(mode="before")
    @classmethod
    def _check_type(cls, tool: Any) -> Any:
        if isinstance(tool, dict) and tool.get("type", "function") != "function":
            raise unsupported("type", f"{tool['type']!r:.80}: this server runs no tools of its own")
        return tool

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def as_function(self) -> dict[str, Any]:
        return as_function(**self.model_dump(exclude={"type"}))


class NamedResponsesTool(Strict):
    type: Literal["function"]
    name: FunctionName


ToolChoice = Annotated[
    Literal["none", "auto", "required"] | NamedResponsesTool, BeforeValidator(known_choice)
]


def as_chat_choice(choice: str | NamedResponsesTool | None) -> Any:
    """Return the same as a chat completion has it."""
    return named_choice(choice.name) if isinstance(choice, NamedResponsesTool) else choice
