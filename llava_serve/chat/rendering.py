"""A conversation becomes a prompt in which what people said cannot pass for the template's words.

Templates never see the text of a message, only an unguessable marker for it; the text comes in
after rendering, as a segment of its own. So a placeholder in the rendered prompt is the template's.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile, zip_longest
from typing import Any

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
# Renders messages in the form of transformers, with `add_generation_prompt` up to the answer.
ApplyTemplate = Callable[..., str]


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
            media = images if match[2] else videos
            shown.append(int(match[1]) if match[1] else next(media, -1))
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
        """Refuse a prompt that does not show every part once."""
        what = "the checkpoint's chat template"
        names = {Image: "a picture", Video: "a clip"}
        lost = [
            repr(part[:40]) if isinstance(part, str) else names[type(part)]
            for i, part in enumerate(self._parts)
            if i not in shown
        ]
        if lost:
            loss = f"it loses {', '.join(lost)}"
            raise InvalidField("messages", f"{what} cannot show this conversation; {loss}")
        if len(shown) > len(self._parts):
            raise InvalidField("messages", f"{what} shows a part of this conversation twice")


def from_chat_template(
    apply: ApplyTemplate, image_token: str = "<image>", video_token: str = "<video>"
) -> PromptFormat:
    """Make prompts with the checkpoint's own (jinja) template."""
    placeholders = None if _takes_parts(apply) else {Image: image_token, Video: video_token}

    def render(conversation: Conversation) -> list[Segment]:
        markers = _Markers()
        messages = [
            {"role": message.role, "content": _content(message, markers, placeholders)}
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
        rendered = apply(
            [{"role": "user", "content": [{"type": "text", "text": "probe"}]}],
            add_generation_prompt=True,
        )
    except (TemplateError, TypeError):
        return False
    return "probe" in rendered and "'type'" not in rendered


_CONTENT_TYPES: dict[type, str] = {Image: "image", Video: "video"}


def _content(
    message: Message, markers: _Markers, placeholders: dict[type, str] | None
) -> str | list[dict[str, str]]:
    """Return one string with `placeholders` for media, or content parts where there are none."""
    marked = [(type(part), markers.mark(part)) for part in message.parts]
    if placeholders is None:
        return [
            {"type": "text", "text": marker} if kind is str else {"type": _CONTENT_TYPES[kind]}
            for kind, marker in marked
        ]
    return "".join(marker if kind is str else placeholders[kind] + "\n" for kind, marker in marked)


def from_template(
    template: Template, marks: tuple[str, str] | None = None, reason: str = ""
) -> PromptFormat:
    """Make prompts with one of LLaVA's conversation templates.

    `marks` stand around every image where the model was trained with tokens for that.
    """

    def render(conversation: Conversation) -> list[Segment]:
        markers = _Markers()
        body = _Body(template, marks, markers)
        system = list(takewhile(lambda each: each.role == "system", conversation.messages))
        said = conversation.messages[len(system) :]
        if any(message.role == "system" for message in said):
            raise InvalidField("messages", "a system message must come before all others")
        if not said:
            raise InvalidField("messages", "there is no user message")
        opening = "\n".join(map(body.text, system)) or template.system
        turns = [turn for message in said for turn in body.turns(message)]
        if not conversation.continues:
            turns.append(("assistant", None))
        rendered = template.render(template, opening, turns)
        if conversation.continues:
            rendered = markers.ending(rendered)
        # No placeholder tokens here: images have markers of their own.
        return markers.split(rendered, *(secrets.token_hex(16) for _ in range(2)))

    return PromptFormat(template.name, render, (template.stop,), per_chunk=True, reason=reason)


@dataclass(frozen=True, slots=True)
class _Body:
    """Messages of one conversation as its template shows them."""

    template: Template
    marks: tuple[str, str] | None
    markers: _Markers

    def turns(self, message: Message) -> list[Turn]:
        role: Any = message.role
        if self.template.receipt is None or not message.media:
            return [(role, self.text(message))]
        shown: list[Turn] = [
            (role, "".join(map(self._shown, message.media))),
            ("assistant", self.template.receipt),
        ]
        if message.texts:
            shown.append((role, "".join(map(self.markers.mark, message.texts))))
        return shown

    def text(self, message: Message) -> str:
        parts: Sequence[str | Image | Video] = message.parts
        if self.template.images_first and message.media:
            said = "".join(message.texts).lstrip()
            parts = [*message.media, said] if said else message.media
        shown = []
        for part, following in zip_longest(parts, parts[1:]):
            if isinstance(part, str):
                shown.append(self.markers.mark(part))
                continue
            placeholder = self._shown(part)
            # Where images stand among the text, a line break sets off only the words behind one.
            is_set_off = isinstance(following, str) and not following[:1].isspace()
            if not (self.template.images_first or is_set_off):
                placeholder = placeholder.removesuffix("\n")
            shown.append(placeholder)
        return "".join(shown)

    def _shown(self, part: str | Image | Video) -> str:
        before, after = self.template.image_affixes
        opening, closing = self.marks or ("", "")
        return f"{before}{opening}{self.markers.mark(part)}{closing}{after}"
