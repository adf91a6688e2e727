"""Sample: a conversation of a training file, as LLaVA's JSON has it, with the places of media."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llava_serve.request import IMAGE_PLACEHOLDER, Conversation, Image, Message, Role, Video

Kind = Literal["image", "video"]

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_PLACEHOLDERS: dict[str, Kind] = {IMAGE_PLACEHOLDER: "image", "<video>": "video"}
_PLACEHOLDER = re.compile("|".join(_PLACEHOLDERS))


class BrokenSample(ValueError):
    """A sample that nothing can be learnt from; the message says why."""


@dataclass(frozen=True, slots=True)
class MediaPlace:
    """Where a text has an image or a video."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class SampleTurn:
    """One turn: its texts, as they are written between the places of media."""

    role: Role
    parts: tuple[str | MediaPlace, ...]


@dataclass(frozen=True, slots=True)
class SampleMedium:
    """A file that a sample names, by its path below the folder of images or of videos."""

    kind: Kind
    path: str


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """Turns, and the media of their places, in order; `id` is empty where the file has none."""

    id: str
    turns: tuple[SampleTurn, ...]
    media: tuple[SampleMedium, ...]

    def conversation(
        self, media: Iterable[Image | Video], *, keeps_line_breaks: bool
    ) -> Conversation:
        """Put decoded media at their places.

        Files write a line break behind a placeholder. LLaVA's templates reckon with it; without
        `keeps_line_breaks` it is left out, as in messages that a client sends.
        """
        remaining = iter(media)
        messages = []
        for turn in self.turns:
            parts: list[str | Image | Video] = []
            for part in turn.parts:
                if isinstance(part, MediaPlace):
                    parts.append(next(remaining))
                    continue
                is_behind = bool(parts) and not isinstance(parts[-1], str)
                text = part if keeps_line_breaks or not is_behind else part.removeprefix("\n")
                parts += [text] if text or len(turn.parts) == 1 else []
            messages.append(Message(turn.role, tuple(parts)))
        return Conversation(tuple(messages))


def sample_of(raw: object) -> TrainingSample:
    """Read a sample that came from JSON.

    Turns have `from` and `value`, or `role` and `content`. `image` and `video` are a path or a
    list. Where there are videos alone, `<image>` is their place, as in LLaVA-Video's files.

    Raises:
        BrokenSample: it is none, has no question and answer in turn, or its placeholders do not
            match its media.
    """
    if not isinstance(raw, dict):
        raise BrokenSample("it is no JSON object")
    images, videos = (_paths(raw, kind) for kind in ("image", "video"))
    turns = tuple(_turns(raw, is_video=bool(videos and not images)))
    _check_roles(turns)
    _check_places(turns, {"image": images, "video": videos})
    paths: dict[Kind, Iterator[str]] = {"image": iter(images), "video": iter(videos)}
    places = [part for turn in turns for part in turn.parts if isinstance(part, MediaPlace)]
    media = tuple(SampleMedium(place.kind, next(paths[place.kind])) for place in places)
    return TrainingSample(str(raw.get("id", "")), turns, media)


def _paths(raw: Mapping[str, Any], key: str) -> list[str]:
    found = raw.get(key)
    paths = found if isinstance(found, list) else [] if found in (None, "") else [found]
    if not all(isinstance(path, str) and path for path in paths):
        raise BrokenSample(f"{key} is neither a path nor a list of paths")
    return paths


def _turns(raw: Mapping[str, Any], *, is_video: bool) -> Iterator[SampleTurn]:
    said = raw.get("conversations")
    if not isinstance(said, list):
        raise BrokenSample("it has no list of conversations")
    for number, turn in enumerate(said, start=1):
        fields = turn if isinstance(turn, dict) else {}
        speaker = fields.get("from", fields.get("role"))
        text = fields.get("value", fields.get("content"))
        if not isinstance(speaker, str) or speaker not in _ROLES:
            raise BrokenSample(f"turn {number} is from {speaker!r}, neither human nor gpt")
        if not isinstance(text, str):
            raise BrokenSample(f"turn {number} has no text")
        yield SampleTurn(_ROLES[speaker], tuple(_parts(text, is_video=is_video)))


def _parts(text: str, *, is_video: bool) -> Iterator[str | MediaPlace]:
    start = 0
    for found in _PLACEHOLDER.finditer(text):
        if found.start() > start:
            yield text[start : found.start()]
        yield MediaPlace("video" if is_video else _PLACEHOLDERS[found[0]])
        start = found.end()
    if start < len(text) or not start:
        yield text[start:]


def _check_roles(turns: tuple[SampleTurn, ...]) -> None:
    said = turns[1:] if turns and turns[0].role == "system" else turns
    if not said:
        raise BrokenSample("its conversation is empty")
    for number, turn in enumerate(said):
        expected = "assistant" if number % 2 else "user"
        if turn.role != expected:
            place = f"turn {number + 1 + len(turns) - len(said)}"
            names = {"assistant": "gpt", "user": "human", "system": "system"}
            raise BrokenSample(f"{place} is from {names[turn.role]}, not from {names[expected]}")
    if len(said) % 2:
        raise BrokenSample("its last turn is a question without an answer")


def _check_places(turns: tuple[SampleTurn, ...], paths: Mapping[Kind, list[str]]) -> None:
    for number, turn in enumerate(turns, start=1):
        if turn.role != "user" and any(isinstance(part, MediaPlace) for part in turn.parts):
            raise BrokenSample(f"turn {number} has a placeholder, and is no question")
    for kind, named in paths.items():
        places = sum(part == MediaPlace(kind) for turn in turns for part in turn.parts)
        if places != len(named):
            raise BrokenSample(
                f"it names {len(named)} {kind}{'s' * (len(named) != 1)} and has {places} "
                f"place{'s' * (places != 1)} for one"
            )
