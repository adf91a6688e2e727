"""Content of Anthropic's messages: blocks of text, images, calls and their results.

Source: anthropic 2.14.0, anthropic/types/content_block_param.py and what it names.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from llava_serve.adapters.adapter import AdaptedMessage, AdaptedPart
from llava_serve.adapters.tools import adapted_call
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict
from llava_serve.protocol.tools import FunctionName


class TextBlock(Strict):
    neutral: ClassVar[Neutral] = {"cache_control": ANYTHING, "citations": (None, [])}

    type: Literal["text"] = "text"
    text: str

    def as_part(self, path: str) -> AdaptedPart:
        return AdaptedPart({"type": "text", "text": self.text}, path)


class Base64Source(Strict):
    type: Literal["base64"]
    media_type: Annotated[str, Field(pattern=r"^image/[\w.+-]+$")]
    data: str

    def as_url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


class UrlSource(Strict):
    type: Literal["url"]
    url: str

    def as_url(self) -> str:
        return self.url


class FileSource(Strict):
    """A file that a controller keeps."""

    type: Literal["file"]
    file_id: str


class ImageBlock(Strict):
    neutral: ClassVar[Neutral] = {
        "cache_control": ANYTHING,
        "transformations": (None, {}, {"oversized_image": "downsize"}),
    }

    type: Literal["image"]
    source: Annotated[Base64Source | UrlSource | FileSource, Field(discriminator="type")]

    def as_part(self, path: str) -> AdaptedPart:
        if isinstance(self.source, FileSource):
            body = {"type": "image_file", "image_file": {"file_id": self.source.file_id}}
        else:
            body = {"type": "image_url", "image_url": {"url": self.source.as_url()}}
        sent = {"base64": "data", "url": "url", "file": "file_id"}[self.source.type]
        kinds = ("image_file", "image_url")  # a file becomes an address, which is checked too
        return AdaptedPart(body, path, dict.fromkeys(kinds, f"source.{sent}"))


class ThinkingBlock(Strict):
    """What a model thought before it answered, which is shown to none again."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["thinking", "redacted_thinking"]

    def as_part(self, _: str) -> None:
        return None


class ToolUseBlock(Strict):
    """A call that the assistant made."""

    neutral: ClassVar[Neutral] = {
        "cache_control": ANYTHING,
        "caller": (None, {"type": "direct"}),
        "toolset_name": (None,),
    }

    type: Literal["tool_use"]
    id: Annotated[str, Field(min_length=1)]
    name: FunctionName
    input: dict[str, Any]

    def as_part(self, _: str) -> None:
        return None

    def as_call(self, path: str) -> AdaptedPart:
        named = {"id": "id", "name": "name", "arguments": "input"}
        return adapted_call(path, self.id, self.name, self.input, **named)


def _form(content: Any) -> str:
    return "text" if isinstance(content, str) else "parts"


ResultPart = Annotated[TextBlock | ImageBlock, Field(discriminator="type")]


class ToolResultBlock(Strict):
    """What came of a call; of one that failed the model is told so in front of it."""

    neutral: ClassVar[Neutral] = {"cache_control": ANYTHING, "toolset_name": (None,)}

    type: Literal["tool_result"]
    tool_use_id: Annotated[str, Field(min_length=1)]
    content: (
        Annotated[
            Annotated[str, Tag("text")] | Annotated[list[ResultPart], Tag("parts")],
            Discriminator(_form),
        ]
        | None
    ) = None
    is_error: bool | None = None

    def as_part(self, _: str) -> None:
        return None

    def as_message(self, path: str) -> AdaptedMessage:
        place = f"{path}.content"
        parts = [AdaptedPart({"type": "text", "text": "Error: "}, path)] if self.is_error else []
        if isinstance(self.content, str):
            parts.append(TextBlock(text=self.content).as_part(place))
        else:
            said = enumerate(self.content or ())
            parts += [block.as_part(f"{place}.{at}") for at, block in said]
        return AdaptedMessage("tool", path, parts, tool_call_id=self.tool_use_id)


Block = Annotated[
    TextBlock | ImageBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock,
    Field(discriminator="type"),
]
_SAID_BY = {"tool_use": "assistant", "tool_result": "user"}


class MessageParam(Strict):
    role: Literal["user", "assistant", "system"]
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[Block], Tag("parts")], Discriminator(_form)
    ]

    @field_validator("content")
    @classmethod
    def _check_calls(cls, content: Any, info: ValidationInfo) -> Any:
        for block in content if isinstance(content, list) else ():
            if (role := _SAID_BY.get(block.type)) not in (None, info.data.get("role")):
                detail = "has {block}, which is what a turn of the {role} has"
                raise PydanticCustomError("turn", detail, {"block": block.type, "role": role})
        return content

    def parts(self, path: str) -> list[AdaptedPart]:
        """Return the content, which stands at `path`, as parts of a chat message."""
        if isinstance(self.content, str):
            return [TextBlock(text=self.content).as_part(path)]
        placed = self._placed(path)
        return [part for block, place in placed if (part := block.as_part(place)) is not None]

    def calls(self, path: str) -> list[AdaptedPart]:
        """Return the calls within the content."""
        placed = self._placed(path)
        return [block.as_call(place) for block, place in placed if isinstance(block, ToolUseBlock)]

    def results(self, path: str) -> list[AdaptedMessage]:
        """Return the results within the content, each a chat message of its own."""
        return [
            block.as_message(place)
            for block, place in self._placed(path)
            if isinstance(block, ToolResultBlock)
        ]

    def _placed(self, path: str) -> list[tuple[Block, str]]:
        blocks = [] if isinstance(self.content, str) else self.content
        return [(block, f"{path}.{at}") for at, block in enumerate(blocks)]
