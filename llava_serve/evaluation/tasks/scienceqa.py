"""ScienceQA as LLaVA asks and grades it: school questions with options, with and without images.

Source: haotian-liu/LLaVA@c121f04 llava/eval/model_vqa_science.py, llava/eval/eval_science_qa.py
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from llava_serve.evaluation.question import Grade, Medium, Question, Turn
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.mean_credit import MeanCredit
from llava_serve.evaluation.tasks.option_question import ENGLISH
from llava_serve.evaluation.tasks.scienceqa_problems import (
    LETTERS,
    ScienceProblem,
    ScienceQuestion,
    read_problems,
    read_science_questions,
)

_SENTENCE = re.compile(r"The answer is ([A-Z]).")
_NO_OPTION = -1  # of LLaVA's result file


class ScienceQA:
    """A folder with `problems.json`, `pid_splits.json`, and the split's images in `images/test`.

    Questions are those of `llava_test_CQM-A.json`, and where it is missing, the same ones made of
    the problems. Questions without an image are asked too.
    """

    name: ClassVar[str] = "scienceqa"
    main_metric: ClassVar[str] = "accuracy"
    max_tokens = 1024

    def __init__(self, data: Path) -> None:
        self._folder = data if data.is_dir() else data.parent

    def questions(self) -> Iterator[Question]:
        for asked in read_science_questions(self._folder, self._problems):
            yield self._question(asked, self._problems[asked.id])

    def grade(self, question: Question, text: str) -> Grade:
        letter = _letter(text)
        if letter not in LETTERS[: question.metadata["choices"]]:
            letter = ""
        return Grade(letter, float(letter == question.truth))

    def tally(self) -> "ScienceTally":
        return ScienceTally()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write LLaVA's result file, which ScienceQA's evaluate_acc.py reads."""
        correct = 0
        results: dict[str, int] = {}
        outputs: dict[str, str] = {}
        for question, record, grade in answered:
            letter = "" if grade is None else grade.parsed
            results[question.id] = LETTERS.index(letter) if letter else _NO_OPTION
            outputs[question.id] = "FAILED" if record.text is None else record.text
            correct += letter == question.truth
        count = len(results)
        content = {
            "acc": correct / count * 100 if count else None,
            "correct": correct,
            "count": count,
            "results": results,
            "outputs": outputs,
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "scienceqa_result.json"
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")
        return [path]

    @cached_property
    def _problems(self) -> dict[str, ScienceProblem]:
        return read_problems(self._folder)

    def _question(self, asked: ScienceQuestion, problem: ScienceProblem) -> Question:
        prompt = f"{asked.text}\n{ENGLISH}"
        metadata: dict[str, Any] = {"choices": len(problem.choices), "parts": problem.parts}
        media: tuple[Medium, ...] = ()
        if asked.image is not None:
            media = (Medium(self._folder / "images" / "test" / asked.image),)
            metadata["prompt"] = f"<image>\n{prompt}"  # LLaVA's IMG accuracy looks for the word
        return Question(
            id=asked.id,
            turns=(Turn("user", prompt, media),),
            kind=problem.subject,
            truth=LETTERS[problem.answer],
            metadata=metadata,
        )


class ScienceTally:
    """Accuracy over all, LLaVA's IMG accuracy, and those of ScienceQA's table.

    The table's columns are subjects (NAT, SOC, LAN), what is given beside the question (TXT a text,
    IMG an image, NO neither) and grades (G1-6, G7-12); topics follow.
    Source: lupantech/ScienceQA@2cbf831 tools/evaluate_acc.py::get_scores
    """

    def __init__(self) -> None:
        self._all = MeanCredit()
        self._with_image = MeanCredit("img_accuracy")

    def add(self, question: Question, grade: Grade) -> None:
        if grade.credit is None:
            return
        self._all.add(grade.credit, question.metadata["parts"])
        if question.turns[-1].media:
            self._with_image.add(grade.credit)

    def metrics(self) -> dict[str, float]:
        return {**self._all.metrics(), **self._with_image.metrics()}


def _letter(text: str) -> str:
    """Return the letter that an answer gives: alone, before ". ", or in one sentence."""
    if text in LETTERS and len(text) == 1:
        return text
    if len(text) >= 3 and text[0] in LETTERS and text[1:3] == ". ":
        return text[0]
    sentences = _SENTENCE.findall(text)
    return str(sentences[0]) if len(sentences) == 1 else ""
