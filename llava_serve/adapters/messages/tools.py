"""Tools of Anthropic's Messages protocol: those that its client calls; others are refused by name.

Source: anthropic 2.14.0, anthropic/types/tool_param.py and tool_choice_param.py.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from llava_serve.adapters.tools import as_function, named_choice
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict, unsupported
from llava_serve.protocol.tools import FunctionName


class CustomTool(Strict):
    neutral: ClassVar[Neutral] = {
        "allowed_callers": (None, ["direct"]),
        "cache_control": ANYTHING,
        "defer_loading": (None, False),
        "eager_input_streaming": ANYTHING,  # arguments always come as the model writes them
        "input_examples": (None, []),
    }

    @model_validator(mode="before")
    @classmethod
    def _check_type(cls, tool: Any) -> Any:
        if isinstance(tool, dict) and tool.get("type") not in (None, "custom"):
            raise unsupported("type", f"{tool['type']!r:.80}: this server runs no tools of its own")
        return tool

    type: Literal["custom"] | None = None
    name: FunctionName
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None

    def as_function(self) -> dict[str, Any]:
        return as_function(
            name=self.name,
            description=self.description,
            parameters=self.input_schema,
            strict=self.strict,
        )


class MessagesToolChoice(Strict):
    type: Literal["auto", "any", "tool", "none"]
    name: FunctionName | None = None
    disable_parallel_tool_use: bool | None = None

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if (self.name is not None) != (self.type == "tool"):
            raise PydanticCustomError("tool_choice", "has a name where its type is tool")
        return self

    def as_chat(self) -> dict[str, Any]:
        """Return the fields of a chat completion that say the same."""
        words = {"auto": "auto", "any": "required", "none": "none"}
        choice = {"tool_choice": words.get(self.type) or named_choice(self.name)}
        return (
            {**choice, "parallel_tool_calls": False} if self.disable_parallel_tool_use else choice
        )
