"""MM-Vet: questions that need several abilities at once, graded by its authors' judge."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from llava_serve.evaluation.question import Grade, Medium, Question, Turn
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.free_answer import NoMetrics, ungraded
from llava_serve.evaluation.tasks.question_file import LlavaQuestion, read_json, read_jsonl


class MMVetEntry(BaseModel):
    """Entry of `mm-vet.json`; `capability` are the abilities that its question needs.

    Source: yuweihao/MM-Vet mm-vet.json of release v1
    """

    model_config = ConfigDict(frozen=True)

    imagename: str
    question: str
    answer: str
    capability: tuple[str, ...] = ()


_ENTRIES = TypeAdapter(dict[str, MMVetEntry])


class MMVet:
    """A folder with `images`, and `llava-mm-vet.jsonl` or `mm-vet.json` or both.

    LLaVA's file is asked where it is there; the authors' one knows right answers and abilities.
    """

    name: ClassVar[str] = "mmvet"
    main_metric: ClassVar[str] = "score"
    max_tokens = 1024

    def __init__(self, data: Path) -> None:
        self._folder = data if data.is_dir() else data.parent

    def questions(self) -> Iterator[Question]:
        path = self._folder / "mm-vet.json"
        lines = self._folder / "llava-mm-vet.jsonl"
        entries = read_json(path, _ENTRIES) if path.exists() or not lines.exists() else {}
        asked = read_jsonl(lines, LlavaQuestion) if lines.exists() else _lines(entries)
        for line in asked:
            entry = entries.get(f"v1_{line.question_id}")
            abilities = "" if entry is None else ", ".join(sorted(entry.capability))
            image = line.image
            media = () if image is None else (Medium(self._folder / "images" / image),)
            yield Question(
                id=str(line.question_id),
                turns=(Turn("user", line.text, media),),
                kind=abilities or line.category or "",
                truth=None if entry is None else entry.answer,
                metadata={"question_id": line.question_id},
            )

    def grade(self, question: Question, text: str) -> Grade:
        return ungraded(text)

    def tally(self) -> NoMetrics:
        return NoMetrics()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write the file that MM-Vet's judge takes.

        Source: haotian-liu/LLaVA@c121f04 scripts/convert_mmvet_for_eval.py
        """
        texts = {
            f"v1_{question.id}": record.text
            for question, record, _ in answered
            if record.text is not None
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "mm-vet.json"
        path.write_text(json.dumps(texts, indent=2), encoding="utf-8")
        return [path]


def _lines(entries: dict[str, MMVetEntry]) -> Iterator[LlavaQuestion]:
    for name, entry in entries.items():
        number = name.removeprefix("v1_")
        question_id = int(number) if number.isdigit() else number
        yield LlavaQuestion(question_id=question_id, text=entry.question, image=entry.imagename)
