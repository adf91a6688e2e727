"""Small data sets in the formats of the authors, and what a task makes of answers to them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from llava_serve.evaluation.answer_record import AnswerFailure, AnswerRecord
from llava_serve.evaluation.task import Answered, Task

SHORT = "\nAnswer the question using a single word or phrase."


def original(name: str) -> Any:
    """Read constructed answers with the results that the authors' own scripts printed of them."""
    return json.loads((Path(__file__).parent / "originals" / f"{name}.json").read_text("utf-8"))


def write_lines(path: Path, entries: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def write_json(path: Path, entry: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry), encoding="utf-8")


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (32, 24), "white")
    ImageDraw.Draw(image).rectangle((4, 4, 16, 16), fill="red")
    image.save(path)


def answered(task: Task, texts: Iterable[str | None]) -> list[Answered]:
    """Give the texts as answers to the task's questions; None is a failed one."""
    found: list[Answered] = []
    for index, (question, text) in enumerate(zip(task.questions(), texts, strict=True)):
        if text is None:
            failure = AnswerFailure(code="worker_lost", message="the worker was lost")
            found.append((question, AnswerRecord(index=index, failure=failure), None))
        else:
            record = AnswerRecord(index=index, text=text)
            found.append((question, record, task.grade(question, text.strip())))
    return found


def metrics_of(task: Task, answers: Iterable[Answered]) -> dict[str, float]:
    tally = task.tally()
    for question, _, grade in answers:
        if grade is not None:
            tally.add(question, grade)
    return tally.metrics()


def sha256(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
