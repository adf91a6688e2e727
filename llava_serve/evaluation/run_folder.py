"""Folder of a run: names of its files, and a lock so that one process at a time writes it."""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import RootModel, ValidationError

from llava_serve.errors import CommandError
from llava_serve.evaluation.manifest import Images, Manifest
from llava_serve.evaluation.outcome import Outcome

# When a run began and where its data lay may differ: the digest tells whether it is the same data.
_MAY_DIFFER = ("started_at", "data")
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

    def read_manifest(self) -> Manifest:
        """Raises: CommandError, when the folder holds no run of this version."""
        try:
            return Manifest.model_validate_json(self.manifest.read_bytes())
        except OSError as exc:
            what = f"{self.path} holds no run of an evaluation: {exc.strerror}"
            raise CommandError(what, "Name the folder of a run.") from exc
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            what = f"{self.manifest} is not of this version: {first['msg']} ({first['loc']})"
            raise CommandError(what, "Name another folder.") from exc

    def read_outcomes(self) -> dict[Images, Outcome]:
        """Return what came of each way to show the images.

        Raises:
            CommandError: the run was not graded yet.
        """
        try:
            return _Outcomes.model_validate_json(self.outcomes.read_bytes()).root
        except (OSError, ValidationError) as exc:
            what = f"{self.path} holds no run that was graded: {self.outcomes.name} is not there"
            remedy = "Give the command of the run once more: it goes on to its end."
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
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as exc:
            what = f"cannot write the folder {self.path}: {exc.strerror}"
            raise CommandError(what, "Name another one with --out.") from exc
        try:
            self._lock(lock)
            yield self._same(manifest)
        finally:
            os.close(lock)  # which lets go of it, as the end of the process does

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            what = f"another process is writing the run in {self.path}"
            raise CommandError(
                what, "Wait for its end, or name another folder with --out."
            ) from exc

    def _same(self, manifest: Manifest) -> Manifest:
        if not self.manifest.exists():
            write_whole(self.manifest, manifest.model_dump_json(indent=2) + "\n")
            return manifest
        there = self.read_manifest()
        for field in Manifest.model_fields:
            before, after = getattr(there, field), getattr(manifest, field)
            if before != after and field not in _MAY_DIFFER:
                raise CommandError(
                    f"{self.path} holds another run: its {field} is {before!r}, and that of this "
                    f"one {after!r}",
                    "Name another folder with --out.",
                )
        return there


def file_name(name: str) -> str:
    """Return the name of a model or a task as that of a file."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "model"


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield the path of a draft that takes the place of `path` once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    try:
        yield draft
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def write_whole(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    with replaced(path) as draft:
        draft.write_text(text, encoding="utf-8")
