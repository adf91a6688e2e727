"""SEED-Bench: questions with options about images, and about one frame of a video."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.json_file import read_json
from llava_serve.evaluation.tasks.mean_credit import AccuracyTally
from llava_serve.evaluation.tasks.question_line import MAX_TOKENS, question_lines
from llava_serve.evaluation.tasks.task_files import EVAL_ZIP, NeededFile

_LETTERS = ("A", "B", "C", "D")
_QUESTIONS = NeededFile(("llava-seed-bench.jsonl",), "LLaVA's questions of SEED-Bench", EVAL_ZIP)
_ANNOTATIONS = NeededFile(
    ("SEED-Bench.json",),
    "the answers of SEED-Bench",
    "https://huggingface.co/datasets/AILab-CVC/SEED-Bench",
)


class SeedAnnotation(BaseModel):
    """Question of `SEED-Bench.json`; `data_type` is "image" or "video"."""

    model_config = ConfigDict(frozen=True)

    question_id: int | str
    question_type_id: int
    data_type: str
    answer: str


class SeedAnnotations(BaseModel):
    """`question_type` are the numbers of the types by their names."""

    model_config = ConfigDict(frozen=True)

    questions: tuple[SeedAnnotation, ...]
    question_type: Mapping[str, int]


class SeedBench:
    """A folder with `llava-seed-bench.jsonl`, `SEED-Bench.json`, and the images that they name.

    An answer is right when it is the option's letter and nothing else, as in LLaVA's script.
    Source: haotian-liu/LLaVA@c121f04 scripts/convert_seed_for_submission.py::eval_single
    """

    name: ClassVar[str] = "seed"
    main_metric: ClassVar[str] = "accuracy"
    max_tokens = MAX_TOKENS

    def __init__(self, data: Path) -> None:
        self._folder = data if data.is_dir() else data.parent

    def questions(self) -> Iterator[Question]:
        types = {number: name for name, number in self._annotations.question_type.items()}
        by_id = {str(one.question_id): one for one in self._annotations.questions}
        for line in question_lines(_QUESTIONS.in_folder(self._folder)):
            annotation = by_id.get(str(line.id))
            if annotation is None:
                what = f"{line.place} has question {line.id!r}, which SEED-Bench.json has not"
                raise CommandError(what, "Take both files of one version of SEED-Bench.")
            number = annotation.question_type_id
            yield line.asked(
                self._folder / line.image,
                kind=types.get(number, str(number)),
                truth=annotation.answer,
                metadata={"data_type": annotation.data_type},
            )

    def grade(self, question: Question, text: str) -> Grade:
        return Grade(text if text in _LETTERS else "", float(text == question.truth))

    def tally(self) -> AccuracyTally:
        """Return a tally of all, of images and of videos, and of each type of question."""
        return AccuracyTally(lambda question: (question.metadata["data_type"], question.kind))

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write the predictions in the order of SEED-Bench.json, for its leader board."""
        texts = {question.id: record.text for question, record, _ in answered}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "seed_bench.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for one in self._annotations.questions:
                text = texts.get(str(one.question_id))
                if text is not None:
                    line = {"question_id": one.question_id, "prediction": text}
                    file.write(json.dumps(line) + "\n")
        return [path]

    @cached_property
    def _annotations(self) -> SeedAnnotations:
        return read_json(_ANNOTATIONS.in_folder(self._folder), TypeAdapter(SeedAnnotations))
