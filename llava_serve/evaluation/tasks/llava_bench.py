"""LLaVA-Bench in the wild: conversations, descriptions and reasoning, graded by a review.

Source: haotian-liu/LLaVA@c121f04 scripts/v1_5/eval/llavabench.sh
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from llava_serve.evaluation.question import Grade, Medium, Question, Turn
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.free_answer import NoMetrics, ungraded
from llava_serve.evaluation.tasks.question_file import LlavaQuestion, read_jsonl


class LlavaBench:
    """A folder with `questions.jsonl` and `images`; or the question file itself.

    `truth` is GPT-4's answer where `answers_gpt4.jsonl` is there. Kinds are conv, detail, complex.
    """

    name: ClassVar[str] = "llava_bench"
    main_metric: ClassVar[str] = "score"
    max_tokens = 1024

    def __init__(self, data: Path) -> None:
        self._path = data / "questions.jsonl" if data.is_dir() else data

    def questions(self) -> Iterator[Question]:
        folder = self._path.parent
        reference = folder / "answers_gpt4.jsonl"
        lines = read_jsonl(reference, LlavaQuestion) if reference.exists() else ()
        truths = {line.question_id: line.text for line in lines}
        for line in read_jsonl(self._path, LlavaQuestion):
            media = () if line.image is None else (Medium(folder / "images" / line.image),)
            yield Question(
                id=str(line.question_id),
                turns=(Turn("user", line.text, media),),
                kind=line.category or "",
                truth=truths.get(line.question_id),
                metadata={"question_id": line.question_id},
            )

    def grade(self, question: Question, text: str) -> Grade:
        return ungraded(text)

    def tally(self) -> NoMetrics:
        return NoMetrics()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write nothing: a review takes LLaVA's answer file."""
        return []
