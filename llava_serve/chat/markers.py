"""Markers: stand-ins for what people said, while a template renders that must not see it."""

import json
import re
import secrets
from dataclasses import dataclass

from llava_serve.errors import InvalidField
from llava_serve.request import Image, Video


@dataclass(frozen=True, slots=True)
class TemplateText:
    """Text of the template: special tokens in it count."""

    text: str


@dataclass(frozen=True, slots=True)
class UserText:
    """Text of a message: nothing in it counts as a special token."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerText(UserText):
    """Text of a message of the assistant's."""


Segment = TemplateText | UserText | Image | Video
Part = str | AnswerText | Image | Video

# Of no template, and the same for all conversations, so that patterns are compiled once.
_NONCE = secrets.token_hex(8)


def _marker(number: int) -> str:
    return f"part{_NONCE}n{number}e"


@dataclass(frozen=True, slots=True)
class ToolText:
    """Text of a tool or a call, which a template may show as JSON, as it is, or not at all."""

    text: str


class Markers:
    """Stand-ins for the parts of one conversation."""

    def __init__(self) -> None:
        self._parts: list[Part | ToolText] = []
        self._may_be_lost: set[int] = set()

    def mark(self, part: Part | ToolText, *, may_be_lost: bool = False) -> str:
        self._parts.append(part)
        number = len(self._parts) - 1
        if may_be_lost:
            self._may_be_lost.add(number)
        return _marker(number)

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
            if isinstance(part, ToolText):
                is_quoted = rendered[match.start() - 1] == rendered[end : end + 1] == '"'
                shown.pop()
                part = json.dumps(part.text, ensure_ascii=False)[1:-1] if is_quoted else part.text
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
        parts = [part.text if isinstance(part, AnswerText) else part for part in self._parts]
        lost = [
            repr(part[:40]) if isinstance(part, str) else names[type(part)]
            for i, part in enumerate(parts)
            if i not in shown and i not in self._may_be_lost
        ]
        if lost:
            loss = f"it loses {', '.join(lost)}"
            raise InvalidField("messages", f"{what} cannot show this conversation; {loss}")
        if len(shown) > len(self._parts):
            raise InvalidField("messages", f"{what} shows a part of this conversation twice")
