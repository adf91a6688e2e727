"""Question files in JSON: read line by line or whole, each fault with its file and line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from llava_serve.errors import CommandError

Row = TypeVar("Row", bound=BaseModel)
Whole = TypeVar("Whole")

_REMEDY = "Download it again, or correct --data."
_LINE_LIMIT = 16 << 20  # bytes: a file without line ends is not read whole


class LlavaQuestion(BaseModel):
    """Line of LLaVA's question files; `image` is relative to the folder of images.

    Source: haotian-liu/LLaVA@c121f04 llava/eval/model_vqa_loader.py::CustomDataset
    """

    model_config = ConfigDict(frozen=True)

    question_id: int | str
    text: str
    image: str | None = None
    category: str | None = None


def read_jsonl(path: Path, form: type[Row]) -> Iterator[Row]:
    """Yield the lines of a file as they are needed; empty ones are skipped.

    Raises:
        CommandError: the file cannot be read, or a line is not of the form; names file and line.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LINE_LIMIT), b""), 1):
                if line.strip():
                    yield _parsed(line, form, f"line {number} of {path}")
    except OSError as exc:
        raise unreadable(path, exc) from exc


def read_json(path: Path, form: TypeAdapter[Whole]) -> Whole:
    """Return what a file holds.

    Raises:
        CommandError: the file cannot be read, or is not of the form; names file and place.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise unreadable(path, exc) from exc
    try:
        return form.validate_json(content)
    except ValidationError as exc:
        raise CommandError(f"{path} is not as it should be: {_first(exc)}", _REMEDY) from exc


def unreadable(path: Path, exc: OSError) -> CommandError:
    """Return the error of a file of a task that cannot be read."""
    return CommandError(
        f"cannot read {path}: {exc.strerror or exc}",
        "Lay the task's files out as LLaVA's docs/Evaluation.md says, or correct --data.",
    )


def _parsed(line: bytes, form: type[Row], place: str) -> Row:
    try:
        return form.model_validate_json(line)
    except ValidationError as exc:
        raise CommandError(f"{place} is not as it should be: {_first(exc)}", _REMEDY) from exc


def _first(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
