"""MME: two questions about each image, of which one is to be answered yes and one no."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import ClassVar, TextIO

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Grade, Question
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.mme_tally import COGNITION, PERCEPTION, MmeTally
from llava_serve.evaluation.tasks.question_line import (
    MAX_TOKENS,
    SHORT_ANSWER,
    QuestionLine,
    question_lines,
)
from llava_serve.evaluation.tasks.submission import answer_text
from llava_serve.evaluation.tasks.task_files import EVAL_ZIP, NeededFile, folder_and_questions

_HOME = "https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation"
_RELEASE = "MME_Benchmark_release_version"
_QUESTIONS = NeededFile(
    ("llava_mme.jsonl", _RELEASE, *PERCEPTION, *COGNITION),
    "the questions of MME",
    f"{EVAL_ZIP}, or ask the authors for {_RELEASE}, see {_HOME}",
)
_YES_OR_NO = " Please answer yes or no."


class Mme:
    """The perception score is the sum over ten subtasks, 2000 at most; cognition has four."""

    name: ClassVar[str] = "mme"
    main_metric: ClassVar[str] = "perception"
    max_tokens: int = MAX_TOKENS

    def __init__(self, data: Path) -> None:
        self._data = data

    def questions(self) -> Iterator[Question]:
        folder, path = folder_and_questions(self._data, _QUESTIONS)
        if path.suffix != ".jsonl":
            yield from _authors_questions(folder / _RELEASE if path.name == _RELEASE else folder)
            return
        release = NeededFile((_RELEASE,), "MME's images, questions and answers", _HOME)
        home = release.in_folder(folder)
        for line in question_lines(path):
            yield _llavas_question(home, line)

    def grade(self, question: Question, text: str) -> Grade:
        """Read yes or no in the first four letters, else `other`.

        Source: zjunlp/Deco@a3ccc15 eval_tool/calculation.py::calculate_metrics.parse_pred_ans
        """
        beginning = text.lower()[:4]
        answer = next((word for word in ("yes", "no") if word in beginning), "other")
        return Grade(answer, float(answer == question.truth))

    def tally(self) -> MmeTally:
        return MmeTally()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        """Write a file for each subtask, as the authors' calculation.py reads them.

        Lines hold name of the image's text file, question, right answer and answer, with tabs
        between; a failed answer is empty. A tab or a break within an answer becomes a space.

        Source: haotian-liu/LLaVA eval.zip, MME/convert_answer_to_mme.py
        """
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, TextIO] = {}
        with ExitStack() as stack:
            for each in answered:
                question = each[0]
                if (file := files.get(question.kind)) is None:
                    path = folder / f"{question.kind}.txt"
                    file = stack.enter_context(path.open("w", encoding="utf-8"))
                    files[question.kind] = file
                answer = " ".join((answer_text(each) or "").splitlines()).replace("\t", " ")
                name, asked = question.metadata["file"], question.metadata["question"]
                file.write(f"{name}\t{asked}\t{question.metadata['truth']}\t{answer}\n")
        return [folder / f"{kind}.txt" for kind in files]


def _llavas_question(release: Path, line: QuestionLine) -> Question:
    """Find the truth as LLaVA's converter does: by the question without LLaVA's words."""
    subtask, name = line.image.split("/")[0], line.image.split("/")[-1].split(".")[0] + ".txt"
    home = release / subtask
    path = (home / "questions_answers_YN" if (home / "images").is_dir() else home) / name
    table = release.parent / "eval_tool" / "Your_Results" / f"{subtask}.txt"
    asked = line.text.replace(SHORT_ANSWER.strip(), "").strip()
    if not path.is_file() and table.is_file():
        path, truths = table, dict(_pairs_of_table(table, Path(name).stem))
    else:
        truths = dict(_pairs(path, line.place))
    for ending in ("",) if _YES_OR_NO.strip() in asked else (_YES_OR_NO, " " + _YES_OR_NO):
        if (truth := truths.get(asked + ending)) is not None:
            return _question(release, line, (name, asked + ending, truth))
    raise CommandError(
        f"{line.place} asks {asked!r}, which {path} does not",
        "Take the question file of LLaVA and MME's release of one version.",
    )


def _authors_questions(release: Path) -> Iterator[Question]:
    present = {path.name for path in release.iterdir() if path.is_dir()}
    known = [subtask for subtask in chain(PERCEPTION, COGNITION) if subtask in present]
    for subtask in (*known, *sorted(present - set(known) - {"eval_tool", "answers"})):
        home = release / subtask
        inner = "images/" if (home / "images").is_dir() else ""
        images = {
            path.stem: path.name for path in (home / inner).iterdir() if path.suffix != ".txt"
        }
        for path in sorted((home / "questions_answers_YN" if inner else home).glob("*.txt")):
            image = f"{subtask}/{inner}{images.get(path.stem, path.stem + '.jpg')}"
            for asked, truth in _pairs(path, str(path)):
                text = asked.replace(_YES_OR_NO, "").strip() + SHORT_ANSWER
                line = QuestionLine(str(path), image, image, text, subtask)
                yield _question(release, line, (path.name, asked, truth))


def _question(release: Path, line: QuestionLine, told: tuple[str, str, str]) -> Question:
    name, asked, truth = told
    subtask = line.image.split("/")[0]
    metadata = {"file": name, "question": asked, "truth": truth}
    return line.asked(release / line.image, subtask, truth.lower(), metadata)


def _pairs(path: Path, place: str) -> Iterator[tuple[str, str]]:
    """Yield the questions of an image's text file with their answers, Yes or No."""
    if not path.is_file():
        raise CommandError(
            f"{path} is not there: it holds the answers to what {place} asks",
            f"Ask the authors of MME for {_RELEASE}, see {_HOME}.",
        )
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            asked, _, truth = line.strip().partition("\t")
            if truth.lower() in ("yes", "no"):
                yield asked, truth
            elif asked:
                raise CommandError(
                    f"{path}, line {number} is not as MME has it: a question, a tab, Yes or No",
                    "Get MME's release anew.",
                )


def _pairs_of_table(path: Path, stem: str) -> Iterator[tuple[str, str]]:
    """Yield an image's questions and answers in a file that the authors' tool comes with."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for line in file:
            image, asked, truth, *_ = (*line.rstrip("\n").split("\t"), "", "")
            if image.split(".")[0] == stem and truth.lower() in ("yes", "no"):
                yield asked.strip(), truth
