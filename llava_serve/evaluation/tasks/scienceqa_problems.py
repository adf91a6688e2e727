"""Problems of ScienceQA: what grading needs of `problems.json`, and LLaVA's questions of them.

Source: lupantech/ScienceQA@2cbf831 data/scienceqa, tools/evaluate_acc.py;
haotian-liu/LLaVA@c121f04 scripts/convert_sqa_to_llava.py, convert_sqa_to_llava_base_prompt.py
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.question_file import read_json

LETTERS = "ABCDE"

_SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
_GRADES = {f"grade{n}": "G1-6" if n <= 6 else "G7-12" for n in range(1, 13)}


class ScienceProblem(BaseModel):
    """A problem; `answer` is the place of the right choice, from 0."""

    model_config = ConfigDict(frozen=True)

    question: str
    choices: Annotated[tuple[str, ...], Field(min_length=1, max_length=len(LETTERS))]
    answer: int = Field(ge=0)
    hint: str = ""
    image: str | None = None
    subject: str = ""
    grade: str = ""
    topic: str = ""

    @property
    def right(self) -> str:
        """Letter of the right choice."""
        return LETTERS[self.answer]

    @property
    def text(self) -> str:
        """The question as LLaVA asks it (CQM): context, question, options."""
        context = self.hint.strip() or "N/A"
        options = " ".join(
            f"({letter}) {choice}" for letter, choice in zip(LETTERS, self.choices, strict=False)
        )
        text = f"Context: {context}\nQuestion: {self.question}\nOptions: {options}\n"
        return text.replace("  ", " ").strip()

    @property
    def parts(self) -> tuple[str, ...]:
        """Columns of ScienceQA's table that count it, and its topic."""
        context = [
            *(["TXT"] if self.hint else []),
            *(["IMG"] if self.image else []),
            *(["NO"] if not self.hint and not self.image else []),
        ]
        parts = (_SUBJECTS.get(self.subject), *context, _GRADES.get(self.grade), self.topic)
        return tuple(part for part in parts if part)


class ScienceTurn(BaseModel):
    model_config = ConfigDict(frozen=True)

    value: str


class ScienceQuestion(BaseModel):
    """Entry of LLaVA's `llava_test_CQM-A.json`; `image` is relative to the split's images."""

    model_config = ConfigDict(frozen=True)

    id: str
    conversations: Annotated[tuple[ScienceTurn, ...], Field(min_length=1)]
    image: str | None = None

    @property
    def text(self) -> str:
        """The question without the placeholder of its image."""
        return self.conversations[0].value.replace("<image>", "").strip()


_PROBLEMS = TypeAdapter(dict[str, ScienceProblem])
_SPLITS = TypeAdapter(dict[str, list[str]])
_QUESTIONS = TypeAdapter(list[ScienceQuestion])


def read_problems(folder: Path) -> dict[str, ScienceProblem]:
    """Return the problems by id.

    Raises:
        CommandError: `problems.json` cannot be read, or a problem is not of the form.
    """
    path = folder / "problems.json"
    problems = read_json(path, _PROBLEMS)
    for name, problem in problems.items():
        if problem.answer >= len(problem.choices):
            what = f"problem {name} of {path} has {len(problem.choices)} choices, and its answer is"
            raise CommandError(f"{what} choice {problem.answer}, counted from 0", "Correct it.")
    return problems


def read_science_questions(
    folder: Path, problems: dict[str, ScienceProblem]
) -> Iterator[ScienceQuestion]:
    """Yield LLaVA's questions of the test split; without its file they are made of the problems.

    Raises:
        CommandError: a file cannot be read, or names a problem that is not there.
    """
    path = folder / "llava_test_CQM-A.json"
    if path.exists():
        for question in read_json(path, _QUESTIONS):
            _problem(question.id, problems, path)
            yield question
        return
    path = folder / "pid_splits.json"
    for name in dict.fromkeys(read_json(path, _SPLITS).get("test", [])):
        problem = _problem(name, problems, path)
        turn = ScienceTurn(value=problem.text)
        image = None if problem.image is None else f"{name}/{problem.image}"
        yield ScienceQuestion(id=name, conversations=(turn,), image=image)


def _problem(name: str, problems: dict[str, ScienceProblem], path: Path) -> ScienceProblem:
    if name not in problems:
        what = f"{path} names problem {name!r}, which problems.json beside it has not"
        raise CommandError(what, "Take both files from one release of ScienceQA.")
    return problems[name]
