"""A conversation becomes a prompt in which what people said cannot pass for the template's words.

Templates never see the text of a message, only an unguessable marker for it; the text comes in
after rendering, as a segment of its own. So a placeholder in the rendered prompt is the template's.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from jinja2 import TemplateError

from llava_serve.chat.templates import Template, Turn
from llava_serve.errors import InvalidField
from llava_serve.request import Conversation, Image, Message, Video


@dataclass(frozen=True, slots=True)
class TemplateText:
    """Text of the template: special tokens in it count."""

    text: str


@dataclass(frozen=True, slots=True)
class UserText:
    """Text of a message: nothing in it counts as a special token."""

    text: str


Segment = TemplateText | UserText | Image | Video


class ApplyTemplate(Protocol):
    """A chat template at work on messages in the form of transformers."""

    def __call__(
        self, messages: list[dict[str, Any]], add_generation_prompt: bool = True
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """How a checkpoint's prompts are made.

    What `render` returns ends where the answer begins, or, of a conversation that `continues`, with
    its last text, as the template shows it and without what would end it.

    `reason` says why it is this one. `per_chunk` says that the text between images is tokenised
    chunk by chunk, as LLaVA's own code does it; otherwise the prompt is tokenised as a whole, as
    transformers does it.
    """

    name: str
    render: Callable[[Conversation], list[Segment]]
    stops: tuple[str, ...]
    per_chunk: bool
    reason: str = ""


# Of no template, and the same for all conversations, so that patterns are compiled once.
_NONCE = secrets.token_hex(8)


def _marker(number: int) -> str:
    return f"part{_NONCE}n{number}e"


class _Markers:
    """Stand-ins for the parts of one conversation."""

    def __init__(self) -> None:
        self._parts: list[str | Image | Video] = []

    def mark(self, part: str | Image | Video) -> str:
        self._parts.append(part)
        return _marker(len(self._parts) - 1)

    def ending(self, rendered: str) -> str:
        """Cut `rendered` behind the part that was marked last: the text to go on with."""
        marker = _marker(len(self._parts) - 1)
        before, found, _ = rendered.rpartition(marker)
        return before + found if found else rendered

    def split(self, rendered: str, image_token: str, video_token: str) -> list[Segment]:
        """Cut `rendered` at markers and placeholders, and put in what they stand for.

        Raises:
            InvalidField: a part of the conversation is missing, or shown twice.
        """
        pattern = f"part{_NONCE}n(\\d+)e|({re.escape(image_token)})|({re.escape(video_token)})"
        images = (i for i, part in enumerate(self._parts) if isinstance(part, Image))
        videos = (i for i, part in enumerate(self._parts) if isinstance(part, Video))
        segments: list[Segment] = []
        shown: list[int] = []
        end = 0
        for match in re.finditer(pattern, rendered):
            segments.append(TemplateText(rendered[end : match.start()]))
            end = match.end()
            if match[1]:
                shown.append(int(match[1]))
            else:
                shown.append(next(images if match[2] else videos, -1))
            if shown[-1] < 0:
                raise InvalidField("messages", "the chat template shows more media than there are")
            part = self._parts[shown[-1]]
            segments.append(UserText(part) if isinstance(part, str) else part)
        segments.append(TemplateText(rendered[end:]))
        self._check(shown)
        return [
            segment for segment in segments if not isinstance(segment, TemplateText) or segment.text
        ]

    def _check(self, shown: list[int]) -> None:
        if sorted(shown) != list(range(len(self._parts))):
            missing = [self._parts[i] for i in range(len(self._parts)) if i not in shown]
            what = ", ".join(
                "a picture"
                if isinstance(part, Image)
                else "a clip"
                if isinstance(part, Video)
                else repr(part[:40])
                for part in missing
            )
            raise InvalidField(
                "messages",
                f"the checkpoint's chat template cannot show this conversation; it loses {what}"
                if missing
                else "the checkpoint's chat template shows a part of this conversation twice",
            )


def from_chat_template(
    apply: ApplyTemplate, image_token: str = "<image>", video_token: str = "<video>"
) -> PromptFormat:
    """Make prompts with the checkpoint's own (jinja) template."""
    takes_parts = _takes_parts(apply)

    def render(conversation: Conversation) -> list[Segment]:
        markers = _Markers()
        content = _content_parts if takes_parts else _content_string(image_token, video_token)
        messages = [
            {"role": message.role, "content": content(message, markers)}
            for message in conversation.messages
        ]
        try:
            rendered = apply(messages, add_generation_prompt=not conversation.continues)
        except TemplateError as exc:
            raise InvalidField(
                "messages", f"the checkpoint's chat template refuses them: {exc}"
            ) from exc
        if conversation.continues:
            rendered = markers.ending(rendered)
        return markers.split(rendered, image_token, video_token)

    return PromptFormat(
        "the checkpoint's chat template", render, (), per_chunk=False, reason="it brings one"
    )


def _takes_parts(apply: ApplyTemplate) -> bool:
    """Say whether the template understands a list of content parts, or only a string."""
    try:
        rendered = apply([{"role": "user", "content": [{"type": "text", "text": "probe"}]}])
    except (TemplateError, TypeError):
        return False
    return "probe" in rendered and "'type'" not in rendered


def _content_parts(message: Message, markers: _Markers) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        marker = markers.mark(part)
        if isinstance(part, str):
            parts.append({"type": "text", "text": marker})
        else:
            parts.append({"type": "image" if isinstance(part, Image) else "video"})
    return parts


def _content_string(image_token: str, video_token: str) -> Callable[[Message, _Markers], str]:
    placeholders: Mapping[type, str] = {Image: image_token, Video: video_token}

    def content(message: Message, markers: _Markers) -> str:
        texts = []
        for part in message.parts:
            marker = markers.mark(part)
            texts.append(marker if isinstance(part, str) else placeholders[type(part)] + "\n")
        return "".join(texts)

    return content


def from_template(
    template: Template, marks: tuple[str, str] | None = None, reason: str = ""
) -> PromptFormat:
    """Make prompts with one of LLaVA's conversation templates.

    `marks` stand around every image where the model was trained with tokens for that.
    """

    def render(conversation: Conversation) -> list[Segment]:
        markers = _Markers()
        messages = list(conversation.messages)
        system = []
        while messages and messages[0].role == "system":
            system.append(_Body(template, marks, messages.pop(0)).text(markers))
        turns: list[Turn] = []
        for message in messages:
            if message.role == "system":
                raise InvalidField("messages", "a system message must come before all others")
            turns += _Body(template, marks, message).turns(markers)
        if not turns:
            raise InvalidField("messages", "there is no user message")
        if not conversation.continues:
            turns.append(("assistant", None))
        rendered = template.render(template, "\n".join(system) or template.system, turns)
        if conversation.continues:
            rendered = markers.ending(rendered)
        # No placeholder tokens here: images have markers of their own.
        return markers.split(rendered, *(secrets.token_hex(16) for _ in range(2)))

    return PromptFormat(template.name, render, (template.stop,), per_chunk=True, reason=reason)


@dataclass(frozen=True, slots=True)
class _Body:
    """One message as a conversation template shows it."""

    template: Template
    marks: tuple[str, str] | None
    message: Message

    def turns(self, markers: _Markers) -> list[Turn]:
        role: Any = self.message.role
        if self.template.receipt is None or not self._media:
            return [(role, self.text(markers))]
        shown: list[Turn] = [
            (role, "".join(self._shown(part, markers) for part in self._media)),
            ("assistant", self.template.receipt),
        ]
        texts = [part for part in self.message.parts if isinstance(part, str)]
        return [*shown, (role, "".join(map(markers.mark, texts)))] if texts else shown

    def text(self, markers: _Markers) -> str:
        parts = list(self.message.parts)
        if self.template.images_first and self._media:
            said = "".join(part for part in parts if isinstance(part, str)).lstrip()
            parts = [*self._media, said] if said else self._media
        shown = []
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            if isinstance(part, str):
                shown.append(markers.mark(part))
                continue
            placeholder = self._shown(part, markers)
            # Where images stand among the text, a line break sets off only the words behind one.
            is_set_off = isinstance(following, str) and not following[:1].isspace()
            if not (self.template.images_first or is_set_off):
                placeholder = placeholder.removesuffix("\n")
            shown.append(placeholder)
        return "".join(shown)

    @property
    def _media(self) -> list[str | Image | Video]:
        return [part for part in self.message.parts if not isinstance(part, str)]

    def _shown(self, part: str | Image | Video, markers: _Markers) -> str:
        before, after = self.template.image_affixes
        opening, closing = self.marks or ("", "")
        return f"{before}{opening}{markers.mark(part)}{closing}{after}"
