"""Debate of a battle: its questions with their images, and what both sides answered."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from llava_serve.errors import CommandError, ServeError
from llava_serve.storage.media import MediaStore
from llava_serve.storage.tables import ConversationRow, TurnRow

_REMEDY = "It is asked again in the next run."


@dataclass(frozen=True)
class Round:
    """A question, its files as parts of a message, and the answers of A and B."""

    question: str
    files: tuple[dict[str, Any], ...]
    answers: tuple[str, str]


@dataclass(frozen=True)
class Debate:
    rounds: tuple[Round, ...]

    @property
    def lengths(self) -> tuple[int, int]:
        """How many characters each side has said."""
        length_a, length_b = (sum(len(one.answers[side]) for one in self.rounds) for side in (0, 1))
        return length_a, length_b


def debate_of(row: ConversationRow, media: MediaStore) -> Debate | None:
    """Return what can be judged; None where an answer is not whole. It blocks.

    Raises:
        CommandError: an image is no longer there.
    """
    shown = sorted((one for one in row.turns if not one.replaced), key=lambda one: one.exchange)
    rounds = []
    for _, turns in groupby(shown, key=lambda one: one.exchange):
        one = _round(list(turns), media)
        if one is None:
            return None
        rounds.append(one)
    return Debate(tuple(rounds)) if rounds else None


def _round(turns: Sequence[TurnRow], media: MediaStore) -> Round | None:
    question = next((one for one in turns if one.role == "user"), None)
    answers = {one.slot: one for one in turns if one.role == "assistant"}
    whole = [one for one in answers.values() if one.text and one.details.get("state") == "done"]
    if question is None or {0, 1} != answers.keys() or len(whole) != 2:
        return None
    return Round(question.text, _files(question, media), (answers[0].text, answers[1].text))


def _files(question: TurnRow, media: MediaStore) -> tuple[dict[str, Any], ...]:
    parts = []
    for row in question.media:
        try:
            file = media.find(f"{row.sha256}.{row.extension}", row.name)
            data = base64.b64encode(media.read(file)).decode("ascii")
        except ServeError as exc:
            raise CommandError(f"{row.name!r} cannot be shown to the judge", _REMEDY) from exc
        kind = f"{file.filetype.kind}_url"
        url = f"data:{file.filetype.mime};base64,{data}"
        parts.append({"type": kind, kind: {"url": url}})
    return tuple(parts)
