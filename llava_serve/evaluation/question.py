"""Question of a task, its media, and how one answer to it was graded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llava_serve.evaluation.media_file import read_media


@dataclass(frozen=True, slots=True)
class Medium:
    """An image or a video: a file on disk, or the bytes of one that stood in the question file."""

    source: Path | bytes
    kind: Literal["image", "video"] = "image"

    def read(self) -> bytes:
        """Return the file's bytes. It blocks.

        Raises:
            MediaTooLarge, MediaUnreadable: as `read_media`.
        """
        return self.source if isinstance(self.source, bytes) else read_media(self.source)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message; its media stand before its text, or after so many characters as `places` say."""

    role: Literal["system", "user", "assistant"]
    text: str
    media: tuple[Medium, ...] = ()
    places: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a task.

    `id` is the task's own, and need not be unique: LLaVA's file for POPE asks of one image under
    one id in several categories. `kind` is the row of the report it counts for, such as a
    category or a subject. `truth` is what grading needs, and what the report shows as the right
    answer: of the task's own form, and None where the task's answers are not public. `settings`
    are fields of the chat completion that replace those of the task, such as `max_tokens`.
    """

    id: str
    turns: tuple[Turn, ...]
    kind: str = ""
    truth: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """Text of the last turn, without placeholders of images."""
        return self.turns[-1].text


@dataclass(frozen=True, slots=True)
class Grade:
    """What an answer is worth.

    `credit` goes from 0 (wrong) to 1 (right), with values between where a task gives them (VQA
    accuracy); None where nobody here can tell: the truth is not public, or a judge is asked later.
    `parsed` is what the task read out of the answer, such as an option's letter.
    """

    parsed: str
    credit: float | None
