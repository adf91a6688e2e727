"""Problems of ScienceQA: what grading needs of `problems.json`, and LLaVA's questions of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.json_file import entries, members, read_json
from llava_serve.evaluation.tasks.task_files import EVAL_ZIP, NeededFile

LETTERS = "ABCDE"

_HOME = "data/scienceqa of https://github.com/lupantech/ScienceQA"
_PROBLEMS = NeededFile(("problems.json",), "ScienceQA's problems with their answers", _HOME)
_QUESTIONS = NeededFile(
    ("llava_test_CQM-A.json", "pid_splits.json"),
    "the questions of ScienceQA's test split",
    f"{EVAL_ZIP}, or from {_HOME}",
)
_SPLITS = TypeAdapter(dict[str, list[str]])

# Columns of ScienceQA's table. Source: lupantech/ScienceQA@2cbf831 tools/evaluate_acc.py
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
    def text(self) -> str:
        """The question in the words of LLaVA v1.5's `llava_test_CQM-A.json`.

        LLaVA's script convert_sqa_to_llava.py writes a file of this name in the words of LLaVA v1.
        Source: haotian-liu/LLaVA eval.zip, scienceqa/llava_test_CQM-A.json
        """
        lines = [f"Context: {self.hint}"] if self.hint else []
        lines.append(self.question)
        lines += [f"{letter}. {text}" for letter, text in zip(LETTERS, self.choices, strict=False)]
        return "\n".join(lines).replace("  ", " ").strip()

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
    """Message of LLaVA's question file."""

    model_config = ConfigDict(frozen=True)

    value: str


class ScienceQuestion(BaseModel):
    """Entry of LLaVA's question file; `image` is relative to the split's images."""

    model_config = ConfigDict(frozen=True)

    id: str
    conversations: Annotated[tuple[ScienceTurn, ...], Field(min_length=1)]
    image: str | None = None

    @property
    def text(self) -> str:
        """The question without the placeholder of its image."""
        return self.conversations[0].value.replace("<image>", "").strip()


def read_problems(folder: Path) -> dict[str, ScienceProblem]:
    """Return the problems by id, those of all splits.

    Raises:
        CommandError: `problems.json` cannot be read, or a problem is not of the form.
    """
    path = _PROBLEMS.in_folder(folder)
    problems = {}
    for name, problem in members(path, ScienceProblem):
        if problem.answer >= len(problem.choices):
            what = f"problem {name} of {path} has {len(problem.choices)} choices, and its answer is"
            raise CommandError(f"{what} choice {problem.answer}, counted from 0", "Correct it.")
        problems[name] = problem
    return problems


def read_science_questions(
    folder: Path, problems: Mapping[str, ScienceProblem]
) -> Iterator[ScienceQuestion]:
    """Yield LLaVA's questions of the test split; without its file they are made of the problems.

    Raises:
        CommandError: a file cannot be read, or names a problem that is not there.
    """
    path = _QUESTIONS.in_folder(folder)
    if path.name == "llava_test_CQM-A.json":
        for question in entries(path, ScienceQuestion):
            _problem(question.id, problems, path)
            yield question
        return
    for name in dict.fromkeys(read_json(path, _SPLITS).get("test", [])):
        problem = _problem(name, problems, path)
        turn = ScienceTurn(value=problem.text)
        image = None if problem.image is None else f"{name}/{problem.image}"
        yield ScienceQuestion(id=name, conversations=(turn,), image=image)


def _problem(name: str, problems: Mapping[str, ScienceProblem], path: Path) -> ScienceProblem:
    if name not in problems:
        what = f"{path} names problem {name!r}, which problems.json beside it has not"
        raise CommandError(what, "Take both files from one release of ScienceQA.")
    return problems[name]
