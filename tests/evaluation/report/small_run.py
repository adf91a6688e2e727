"""A small task with drawn images, and the folder of a run of it as a grading leaves it."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from llava_serve.evaluation.answer_record import AnswerFailure, AnswerRecord
from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.manifest import Images, Manifest
from llava_serve.evaluation.outcome import Outcome
from llava_serve.evaluation.question import Grade, Medium, Question, Turn
from llava_serve.evaluation.run_folder import RunFolder
from llava_serve.evaluation.task import Answered, MetricTally

COLOURS = ("red", "green", "blue", "orange", "purple")


def drawn(colour: str) -> bytes:
    """PNG of one colour, wider than any thumbnail."""
    out = io.BytesIO()
    Image.new("RGB", (400, 300), colour).save(out, "PNG")
    return out.getvalue()


class Accuracy:
    def __init__(self) -> None:
        self._credits: list[float] = []

    def add(self, question: Question, grade: Grade) -> None:
        if grade.credit is not None:
            self._credits.append(grade.credit)

    def metrics(self) -> dict[str, float]:
        credits = self._credits
        return {"accuracy": sum(credits) / len(credits)} if credits else {}


class SmallTask:
    """Asks for the colour of an image: every question's kind is `colour` or `shade`."""

    name: ClassVar[str] = "small"
    max_tokens = 16
    main_metric: ClassVar[str] = "accuracy"

    def __init__(self, questions: int = 10) -> None:
        self._questions = questions

    def questions(self) -> Iterator[Question]:
        for index in range(self._questions):
            colour = COLOURS[index % len(COLOURS)]
            turn = Turn("user", f"Which colour is picture {index}?", (Medium(drawn(colour)),))
            kind = "colour" if index % 3 else "shade"
            yield Question(id=f"q{index}", turns=(turn,), kind=kind, truth=colour)

    def grade(self, question: Question, text: str) -> Grade:
        return Grade(parsed=text.lower(), credit=float(text.lower() == question.truth))

    def tally(self) -> MetricTally:
        return Accuracy()

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        return []


def manifest_of(questions: int, **changed: Any) -> Manifest:
    fields: dict[str, Any] = {
        "task": "small",
        "data": "/data/small",
        "digest": "ab" * 32,
        "questions": questions,
        "model": "llava-tiny",
        "max_tokens": 16,
        "started_at": "2026-11-30T10:00:00+00:00",
    }
    return Manifest(**fields | changed)


def graded(index: int, text: str | None, **changed: Any) -> GradedAnswer:
    """The answer to a question of `SmallTask`; without a text it failed."""
    colour = COLOURS[index % len(COLOURS)]
    fields: dict[str, Any] = {
        "index": index,
        "id": f"q{index}",
        "kind": "colour" if index % 3 else "shade",
        "prompt": f"Which colour is picture {index}?",
        "truth": colour,
    }
    if text is None:
        fields["failure"] = "engine_failure"
    else:
        fields |= {"text": text, "parsed": text.lower(), "credit": float(text.lower() == colour)}
    return GradedAnswer(**fields | changed)


def write_graded(
    folder: RunFolder, answers: Iterable[GradedAnswer], images: Images = "original"
) -> Outcome:
    """Write a file of graded answers, and the answers' own file beside it."""
    right = answered = 0.0
    failed: dict[str, int] = {}
    with (
        folder.graded(images).open("w", encoding="utf-8") as lines,
        folder.answers(images).open("w", encoding="utf-8") as records,
    ):
        for answer in answers:
            lines.write(answer.model_dump_json() + "\n")
            records.write(_record(answer).model_dump_json() + "\n")
            if answer.failure is not None:
                failed[answer.failure] = failed.get(answer.failure, 0) + 1
            elif answer.credit is not None:
                answered += 1
                right += answer.credit
    metrics = {"accuracy": right / answered} if answered else {}
    return Outcome(metrics=metrics, answered=int(answered), failed=failed)


def write_run(
    path: Path, manifest: Manifest, **answers: Iterable[GradedAnswer]
) -> tuple[RunFolder, dict[Images, Outcome]]:
    """Write the folder of a run; `answers` are by how images were shown."""
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.manifest.write_text(manifest.model_dump_json(), encoding="utf-8")
    outcomes: dict[Images, Outcome] = {}
    for images, lines in answers.items():
        outcomes[images] = write_graded(folder, lines, images)  # type: ignore[index, arg-type]
    folder.write_outcomes(outcomes)
    return folder, outcomes


def _record(answer: GradedAnswer) -> AnswerRecord:
    if answer.failure is not None:
        failure = AnswerFailure(code=answer.failure, message=f"{answer.failure} in {answer.id}")
        return AnswerRecord(index=answer.index, failure=failure)
    reason = "length" if answer.tokens == SmallTask.max_tokens else "stop"
    return AnswerRecord(index=answer.index, text=answer.text, finish_reason=reason)
