"""Line of LLaVA's question files, and the words with which LLaVA v1.5 asks for a short answer."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Medium, Question, Turn
from llava_serve.evaluation.text_lines import numbered_lines

# Source: haotian-liu/LLaVA@c121f04 docs/Evaluation.md
SHORT_ANSWER = "\nAnswer the question using a single word or phrase."
MAX_TOKENS = 128  # Source: haotian-liu/LLaVA@c121f04 llava/eval/model_vqa_loader.py


@dataclass(frozen=True, slots=True)
class QuestionLine:
    """One question; `place` says where it stands, for errors, and `text` is the whole prompt."""

    place: str
    id: Any
    image: str
    text: str
    category: str = ""

    def asked(
        self, image: Path, kind: str, truth: Any, metadata: Mapping[str, Any] | None = None
    ) -> Question:
        """Return the question about the file `image`."""
        return Question(
            id=str(self.id),
            turns=(Turn("user", self.text, (Medium(image),)),),
            kind=kind,
            truth=truth,
            metadata={"question_id": self.id, "image": self.image, **(metadata or {})},
        )


def question_lines(path: Path) -> Iterator[QuestionLine]:
    """Yield the lines of a question file: JSON objects with `question_id`, `image` and `text`.

    Raises:
        CommandError: the file cannot be read, or a line is something else; names file and line.

    Source: haotian-liu/LLaVA@c121f04 llava/eval/model_vqa_loader.py
    """
    for number, line in numbered_lines(path):
        yield _read(line, f"{path}, line {number}")


def _read(line: str, place: str) -> QuestionLine:
    try:
        entry = json.loads(line)
        image, text = entry["image"], entry["text"]
        if not (isinstance(image, str) and isinstance(text, str)):
            raise TypeError
        return QuestionLine(
            place, entry["question_id"], image, text, str(entry.get("category", ""))
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise CommandError(
            f"{place} is no question: a JSON object with question_id, image and text is expected",
            "Correct the line, or get the file anew.",
        ) from None
