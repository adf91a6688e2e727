"""Drawn images, TSV files of them, and answers given to a task as a run would."""

import base64
import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from llava_serve.evaluation.answer_record import AnswerFailure, AnswerRecord
from llava_serve.evaluation.task import Answered, Task

ORIGINALS = Path(__file__).parent / "originals"


def original(name: str) -> Any:
    """Return constructed files, and what the originals made of them."""
    return json.loads((ORIGINALS / f"{name}.json").read_text("utf-8"))


def png(number: int = 0) -> bytes:
    """Return an image of its own for each number."""
    image = Image.new("RGB", (32, 24), (number * 40 % 256, number * 70 % 256, 200))
    ImageDraw.Draw(image).ellipse((4, 4, 20, 20), fill=(number * 90 % 256, 30, 60))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def in_base64(number: int = 0) -> str:
    return base64.b64encode(png(number)).decode()


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, lines: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def answered(task: Task, texts: Iterable[str | None]) -> list[Answered]:
    """Return the questions with these answers; None is an answer that failed."""
    results: list[Answered] = []
    for index, (question, text) in enumerate(zip(task.questions(), texts, strict=True)):
        if text is None:
            failure = AnswerFailure(code="worker_unreachable", message="it is gone")
            results.append((question, AnswerRecord(index=index, failure=failure), None))
        else:
            grade = task.grade(question, text)
            results.append((question, AnswerRecord(index=index, text=text), grade))
    return results


def metrics_of(task: Task, answers: Iterable[Answered]) -> dict[str, float]:
    tally = task.tally()
    for question, _, grade in answers:
        if grade is not None:
            tally.add(question, grade)
    return tally.metrics()
