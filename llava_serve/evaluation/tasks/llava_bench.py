"""LLaVA-Bench in the wild: conversations, descriptions and reasoning, graded by a review.

Source: haotian-liu/LLaVA@c121f04 scripts/v1_5/eval/llavabench.sh
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.free_answer import NoMetrics, texts_by_id, ungraded
from llava_serve.evaluation.tasks.question_line import question_lines
from llava_serve.evaluation.tasks.task_files import NeededFile, first_present, folder_and_questions

_QUESTIONS = NeededFile(
    ("questions.jsonl",),
    "the questions of LLaVA-Bench in the wild",
    "https://huggingface.co/datasets/liuhaotian/llava-bench-in-the-wild",
)


class LlavaBench:
    """A folder with `questions.jsonl` and `images`; or the question file itself.

    `truth` is GPT-4's answer where `answers_gpt4.jsonl` is there. Kinds are conv, detail, complex.
    """

    name: ClassVar[str] = "llava_bench"
    main_metric: ClassVar[str] = "score"
    max_tokens = 1024

    def __init__(self, data: Path) -> None:
        self._data = data

    def questions(self) -> Iterator[Question]:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        reference = first_present(folder, "answers_gpt4.jsonl")
        answers = {} if reference is None else texts_by_id(reference)
        for line in question_lines(path):
            image = folder / "images" / line.image
            yield line.asked(image, line.category, answers.get(str(line.id)))

    def grade(self, question: Question, text: str) -> Grade:
        return ungraded(text)

    def tally(self) -> NoMetrics:
        return NoMetrics()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write nothing: a review takes LLaVA's answer file."""
        return []
