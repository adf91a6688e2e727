"""Nothing reaches an SGLang server in which images and placeholders differ: that would kill it.

Source: a running SGLang 0.5.23. With models of Hugging Face's layout it exits, all of it, when a
image has no placeholder in the prompt.
"""

from dataclasses import dataclass, replace
from typing import Any

from cachetools import LRUCache

from llava_serve.engines.sglang.client import SglangClient
from llava_serve.engines.sglang.served import Served
from llava_serve.engines.text_length import texts_of
from llava_serve.errors import InvalidField, MediaCountMismatch, UnsupportedField
from llava_serve.request import IMAGE_PLACEHOLDER, Conversation, Image, ReadyPrompt

_VIDEO = "<video>"
RESERVED = (IMAGE_PLACEHOLDER, _VIDEO)
_TOKENIZE_S = 10.0
_KEPT = 1024  # shapes of conversations whose answer is remembered
_PIXEL = (  # never decoded: only the template is asked
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQAY3Y2w"
    "AAAAAElFTkSuQmCC"
)

_FUNCTION = {"name": "x", "description": "x", "parameters": {"type": "object", "properties": {}}}
_TOOLS = [{"type": "function", "function": _FUNCTION}]
_CALL = {"id": "call00000", "type": "function", "function": {"name": "x", "arguments": {"x": "x"}}}


@dataclass(frozen=True, slots=True)
class _MessageShape:
    """What a template sees of a message beside its words; `parts` says which are images."""

    role: str
    parts: tuple[bool, ...]
    num_calls: int


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a template sees of a conversation beside its words."""

    messages: tuple[_MessageShape, ...]
    has_tools: bool


def check_prompt(prompt: ReadyPrompt) -> None:
    """Check a prompt that the client rendered.

    Raises:
        InvalidField: it is empty, or has a place for a video.
        MediaCountMismatch: images and placeholders differ in number.
    """
    if not prompt.text.strip() and not prompt.tokens:
        raise InvalidField("prompt", "is empty")
    if _VIDEO in prompt.text:
        raise InvalidField("prompt", f"holds {_VIDEO!r}, and no video reaches an SGLang server")
    placeholders = prompt.text.count(IMAGE_PLACEHOLDER)
    if placeholders != len(prompt.images):
        raise MediaCountMismatch(len(prompt.images), placeholders)


def check_texts(conversation: Conversation) -> None:
    """Raises: InvalidField, where the server would take what somebody wrote for an image."""
    for text in texts_of(replace(conversation, messages=())):
        _check_text("tools", text)
    for message in conversation.messages:
        # Together, because templates join them: half of a mark in each would make a whole one.
        _check_text("messages", "".join(message.texts))
    for text in texts_of(replace(conversation, tools=())):
        _check_text("messages", text)


def _check_text(field: str, text: str) -> None:
    if found := [mark for mark in RESERVED if mark in text]:
        raise InvalidField(
            field,
            f"the text holds {found[0]!r}, which an SGLang server takes for a picture; "
            "write it in another way",
        )


class TemplateCheck:
    """Asks the server how many placeholders its chat template makes, once for each shape."""

    def __init__(self, client: SglangClient) -> None:
        self._client = client
        self._made: LRUCache[_Shape, int] = LRUCache(_KEPT)
        self._goes_on: LRUCache[tuple[_Shape, str], bool] = LRUCache(_KEPT)
        self._of: Served | None = None  # the server that was asked

    async def check(self, conversation: Conversation, served: Served) -> None:
        """Raises: InvalidField, when the template loses or repeats an image."""
        images = sum(len(message.images) for message in conversation.messages)
        if not images or served.image_token is None:
            return
        self._meet(served)
        known = self._made  # of this server: when the answer comes, another may be there
        shape = _shape(conversation)
        made = known.get(shape)
        if made is None:
            asked = _asked(shape)
            answer = await self._client.call("/v1/tokenize", _TOKENIZE_S, served.address, asked)
            made = answer["tokens"].count(served.image_token)
            known[shape] = made
        if made != images:
            raise InvalidField(
                "messages",
                f"the server's chat template shows {made} of the {images} pictures where they "
                "stand; put them into user messages",
            )

    async def check_continuation(self, conversation: Conversation, served: Served) -> None:
        """Raises: UnsupportedField, when the server's prompt does not end with the text so far.

        The server is asked about a word with the white space of the text around it: some of its
        templates lose that, or close the turn.
        """
        self._meet(served)
        known = self._goes_on
        word = conversation.begun.strip()
        probe = conversation.begun.replace(word, "x") if word else conversation.begun
        shape = _shape(conversation)
        if (shape, probe) not in known:
            asked = _asked(shape) | {"continue_final_message": True}
            asked["messages"][-1] = {"role": "assistant", "content": probe}
            tokens = await self._client.call("/v1/tokenize", _TOKENIZE_S, served.address, asked)
            asked = {"tokens": tokens["tokens"], "skip_special_tokens": False}
            told = await self._client.call("/v1/detokenize", _TOKENIZE_S, served.address, asked)
            known[shape, probe] = str(told["text"]).endswith(probe)
        if not known[shape, probe]:
            raise UnsupportedField(
                "continue_final_message",
                "cannot be honoured: the SGLang server's own template does not end with the text "
                "as it was sent; start this worker with --conv-mode",
            )

    def _meet(self, served: Served) -> None:
        """Forget what was said of another server."""
        if served is not self._of:
            self._of, self._made, self._goes_on = served, LRUCache(_KEPT), LRUCache(_KEPT)


def _shape(conversation: Conversation) -> _Shape:
    messages = tuple(
        _MessageShape(
            message.role,
            tuple(isinstance(part, Image) for part in message.parts),
            len(message.tool_calls),
        )
        for message in conversation.messages
    )
    return _Shape(messages, bool(conversation.tools))


def _asked(shape: _Shape) -> dict[str, Any]:
    asked: dict[str, Any] = {"messages": [_message(each) for each in shape.messages]}
    return asked | {"tools": _TOOLS} if shape.has_tools else asked


def _message(shape: _MessageShape) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": _PIXEL}}
    message: dict[str, Any] = {
        "role": shape.role,
        "content": [image if shown else {"type": "text", "text": "x"} for shown in shape.parts],
    }
    if shape.role == "tool":
        message |= {"tool_call_id": _CALL["id"], "name": "x"}
    if shape.num_calls:
        message |= {"content": message["content"] or None, "tool_calls": [_CALL] * shape.num_calls}
    return message
