"""JSON files of a task that have a form: each fault is told with its file and place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.json_stream import array_entries, object_entries
from llava_serve.evaluation.tasks.task_files import unreadable
from llava_serve.form_fault import first_fault

Entry = TypeVar("Entry", bound=BaseModel)
Whole = TypeVar("Whole")


def read_json(path: Path, form: TypeAdapter[Whole]) -> Whole:
    """Return what a file holds.

    Raises:
        CommandError: the file cannot be read, or is not of the form.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise unreadable(path, exc) from exc
    try:
        return form.validate_json(content)
    except ValidationError as exc:
        raise _malformed(str(path), exc) from exc


def members(path: Path, form: type[Entry]) -> Iterator[tuple[str, Entry]]:
    """Yield the members of a file's object by name, one at a time.

    Raises:
        CommandError: the file cannot be read, or a member is not of the form.
    """
    for name, value in object_entries(path):
        yield name, _checked(value, form, f"{name!r} of {path}")


def entries(path: Path, form: type[Entry]) -> Iterator[Entry]:
    """Yield the entries of a file's array, one at a time.

    Raises:
        CommandError: the file cannot be read, or an entry is not of the form.
    """
    for number, value in enumerate(array_entries(path), 1):
        yield _checked(value, form, f"entry {number} of {path}")


def _checked(value: Any, form: type[Entry], place: str) -> Entry:
    try:
        return form.model_validate(value)
    except ValidationError as exc:
        raise _malformed(place, exc) from exc


def _malformed(place: str, error: ValidationError) -> CommandError:
    what = f"{place} is not as it should be: {first_fault(error)}"
    return CommandError(what, "Get the file anew.")
