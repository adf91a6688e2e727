"""MM-Vet: questions that need several abilities at once, graded by its authors' judge."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.free_answer import NoMetrics, ungraded
from llava_serve.evaluation.tasks.json_file import members
from llava_serve.evaluation.tasks.question_line import QuestionLine, question_lines
from llava_serve.evaluation.tasks.task_files import EVAL_ZIP, NeededFile, first_present


class MMVetEntry(BaseModel):
    """Entry of `mm-vet.json`; `capability` are the abilities that its question needs.

    Source: yuweihao/MM-Vet mm-vet.json of release v1
    """

    model_config = ConfigDict(frozen=True)

    imagename: str
    question: str
    answer: str
    capability: tuple[str, ...] = ()


_QUESTIONS = NeededFile(
    ("llava-mm-vet.jsonl", "mm-vet.json"),
    "the questions of MM-Vet",
    f"{EVAL_ZIP}, or from https://github.com/yuweihao/MM-Vet/releases/tag/v1",
)


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
        path = _QUESTIONS.in_folder(self._folder)
        known = first_present(self._folder, "mm-vet.json")
        entries = {} if known is None else dict(members(known, MMVetEntry))
        lines = _lines(entries, path) if path == known else question_lines(path)
        for line in lines:
            entry = entries.get(f"v1_{line.id}")
            abilities = () if entry is None else sorted(entry.capability)
            yield line.asked(
                self._folder / "images" / line.image,
                kind=", ".join(abilities) or line.category,
                truth=None if entry is None else entry.answer,
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


def _lines(entries: Mapping[str, MMVetEntry], path: Path) -> Iterator[QuestionLine]:
    for name, entry in entries.items():
        number = name.removeprefix("v1_")
        question_id = int(number) if number.isdigit() else number
        yield QuestionLine(f"{name!r} of {path}", question_id, entry.imagename, entry.question)
