"""Folder of a run: names of its files, and a lock so that one process at a time writes it."""

import fcntl
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, RootModel, ValidationError

from llava_serve.errors import CommandError
from llava_serve.evaluation.manifest import Images, Manifest
from llava_serve.evaluation.outcome import Outcome
from llava_serve.form_fault import first_fault

_MEANINGS = {"digest": "SHA-256 of all questions", "questions": "number of questions"}
# When a run began and where its data lay may differ: the digest tells whether it is the same data.
_MAY_DIFFER = ("started_at", "data")
_OTHER_FOLDER = "Name another folder with --out."
_LONGEST_NAME = 100  # bytes: two of them and an ending are within the 255 that systems allow
Kept = TypeVar("Kept", bound=BaseModel)
_Outcomes = RootModel[dict[Images, Outcome]]


class RunFolder:
    """Paths in the folder of one run; whoever writes there holds it `opened`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / "manifest.json"
        self.outcomes = path / "outcomes.json"
        self.submission = path / "submission"
        self.report_json = path / "report.json"
        self.report_html = path / "report.html"

    def answers(self, images: Images) -> Path:
        """Return the file of `AnswerRecord` lines, in the order in which the answers came."""
        return self._of_images("answers", images)

    def graded(self, images: Images) -> Path:
        """Return the file of `GradedAnswer` lines, one for each question, in their order."""
        return self._of_images("graded", images)

    def llava_answers(self, model: str) -> Path:
        """Return the file of the answers as LLaVA's own scripts write them."""
        return self.path / "answers" / f"{file_name(model)}.jsonl"

    def _of_images(self, name: str, images: Images) -> Path:
        return self.path / (f"{name}.jsonl" if images == "original" else f"{name}-{images}.jsonl")

    def read_outcomes(self) -> dict[Images, Outcome]:
        """Return what came of each way to show the images.

        Raises:
            CommandError: the run was not graded yet, or the file was changed.
        """
        remedy = "Give the command of the run once more: it goes on to its end."
        try:
            return _Outcomes.model_validate_json(self.outcomes.read_bytes()).root
        except OSError as exc:
            what = f"{self.path} holds no run that was graded: cannot read {self.outcomes.name}"
            raise CommandError(f"{what}: {exc.strerror}", remedy) from exc
        except ValidationError as exc:
            what = f"{self.outcomes} is not of this version: {first_fault(exc)}"
            raise CommandError(what, remedy) from exc

    def write_outcomes(self, outcomes: Mapping[Images, Outcome]) -> None:
        """Write what came of each way to show the images."""
        write_whole(self.outcomes, _Outcomes(dict(outcomes)).model_dump_json(indent=2) + "\n")

    @contextmanager
    def opened(self, manifest: Manifest) -> Iterator[Manifest]:
        """Hold the folder for one run, and yield its manifest: that of the folder, or this one.

        Raises:
            CommandError: another process holds it, another run lies there, or it cannot be written.
        """
        with held(self.path):
            yield kept_manifest(self.manifest, manifest, _MAY_DIFFER)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is missing, for this process alone.

    Raises:
        CommandError: another process holds it, or a file cannot be written or read meanwhile.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with writing(folder):  # not every file system has locks
            _lock(lock, folder)
        yield
    except OSError as exc:  # a full disk tells no name
        what = f"cannot use {exc.filename or folder}: {exc.strerror or exc}"
        remedy = "See to the disk, or name another folder with --out; what was written is kept."
        raise CommandError(what, remedy) from exc
    finally:
        os.close(lock)  # which lets go of it, as the end of the process does


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        what = f"another process is writing the run in {folder}"
        raise CommandError(what, "Wait for its end, or name another folder with --out.") from exc


def kept_manifest(path: Path, manifest: Kept, may_differ: Collection[str]) -> Kept:
    """Write a manifest, or return the one that is there, which must be the same.

    Raises:
        CommandError: a field of it has another value, or it is of another version.
    """
    if not path.exists():
        write_whole(path, manifest.model_dump_json(indent=2) + "\n")
        return manifest
    there = _read(path, type(manifest))
    for field in type(manifest).model_fields:
        before, after = getattr(there, field), getattr(manifest, field)
        if before != after and field not in may_differ:
            name = _MEANINGS.get(field, field)
            what = f"{path.parent} holds another run: its {name} is {before!r}, and here {after!r}"
            if hasattr(there, "data"):
                what += f"; it asked the questions of {there.data}"
            raise CommandError(what, _OTHER_FOLDER)
    return there


def _read(path: Path, kind: type[Kept]) -> Kept:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise CommandError(f"cannot read {path}: {exc.strerror}", _OTHER_FOLDER) from exc
    except ValidationError as exc:
        what = f"{path} is not of this version: {first_fault(exc)}"
        raise CommandError(what, _OTHER_FOLDER) from exc


def file_name(name: str) -> str:
    """Return the name of a model or a task as that of a file; of a long one its beginning."""
    found = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "model"
    whole = found.encode()
    if len(whole) <= _LONGEST_NAME:
        return found
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{whole[: _LONGEST_NAME - 13].decode(errors='ignore')}-{digest}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Write to a file or a folder in the block.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        yield
    except OSError as exc:
        remedy = "See to the disk, or name another folder with --out."
        is_of_path = exc.filename is None or Path(exc.filename) == path
        reason = exc.strerror if is_of_path else exc  # which names the other file
        raise CommandError(f"cannot write {path}: {reason}", remedy) from exc


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield the path of a draft that takes the place of `path` once it is whole.

    Raises:
        CommandError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.draft")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a small file whole or not at all. Raises as `replaced`."""
    with replaced(path) as draft:
        draft.write_text(text, encoding="utf-8")
