"""Survey of a task before anything is asked: its size, digest, missing files, images to swap in."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llava_serve.errors import CommandError
from llava_serve.evaluation.image_pool import ImagePool
from llava_serve.evaluation.media_file import is_there
from llava_serve.evaluation.question import Medium, Question


class Survey:
    """What one walk over the questions found; it keeps no question.

    `questions` is how many are asked; the digest is of all that the task has.
    `missing` are files that are not there of `files` that are named, one counted as often as it
    is; `first_missing` is one of them.
    """

    def __init__(self, pool: ImagePool | None = None) -> None:
        self.questions = 0
        self.files = 0
        self.missing = 0
        self.first_missing: Path | None = None
        self._pool = pool
        self._sum = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 over all that makes the questions and their right answers."""
        return self._sum.hexdigest()

    def take(self, questions: Iterable[Question], limit: int | None = None) -> None:
        """Walk over the questions of a task, of which the first ones are asked.

        Raises:
            CommandError: there is none, one of their files cannot be read, one holds what is no
                text, or not one of the files that they name is there.
        """
        try:
            for number, question in enumerate(questions):
                self._add(question)
                if limit is None or number < limit:
                    self.questions += 1
                    for turn in question.turns:
                        for medium in turn.media:
                            self._look_at(medium)
        except OSError as exc:
            what = f"cannot read {exc.filename or 'a file of the task'}: {exc.strerror or exc}"
            raise CommandError(what, "Correct --data, or see to the file.") from exc
        if not self.questions:
            raise CommandError("the task has no question", "Correct --data.")
        if self.files and self.missing == self.files:
            what = (
                f"none of the files that the questions name is there, such as {self.first_missing}"
            )
            raise CommandError(what, "Put the pictures where the task looks for them; see --data.")

    def _add(self, question: Question) -> None:
        """Add a question to the digest."""
        shown = [_name(one) for turn in question.turns for one in turn.media]
        turns = [(turn.role, turn.text, len(turn.media), turn.places) for turn in question.turns]
        told = [question.id, turns, shown, question.kind, question.truth, question.settings]
        line = json.dumps(told, default=_plain, sort_keys=True, ensure_ascii=False)
        try:
            self._sum.update(line.encode() + b"\n")
        except UnicodeEncodeError as exc:  # later no file could hold it
            half = line[exc.start : exc.end]
            what = f"question {question.id!r} holds {half!r}, a half of a character"
            raise CommandError(what, "Correct it in the file of --data.") from exc

    def _look_at(self, medium: Medium) -> None:
        if isinstance(medium.source, Path):
            self.files += 1
            if not is_there(medium.source):
                self.missing += 1
                self.first_missing = self.first_missing or medium.source
                return
        if self._pool is not None:
            self._pool.offer(medium)


def _name(medium: Medium) -> str:
    """Return what tells a medium from others wherever the data lies."""
    if isinstance(medium.source, bytes):
        return hashlib.sha256(medium.source).hexdigest()
    return medium.source.name.encode(errors="backslashreplace").decode()


def _plain(value: Any) -> Any:
    """Return what JSON has no form for as what it has, the same in every process."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
