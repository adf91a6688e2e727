"""Answers file: one line an answer, in the order in which they came, found by their question."""

from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import ValidationError

from llava_serve.errors import CommandError
from llava_serve.evaluation.answer_record import AnswerRecord

State = Literal["open", "answered", "failed"]
_STATES: tuple[State, ...] = ("open", "answered", "failed")
_ABSENT = -1


class AnswersFile:
    """Appends answers, and reads them back by question.

    In memory it keeps 9 bytes a question: where in the file its line begins, and whether it failed.
    A later line of a question replaces an earlier one. Opening cuts a last line that is torn.
    """

    def __init__(self, path: Path, questions: int) -> None:
        """Open the file, or begin it.

        Raises:
            CommandError: it cannot be used, or a line of it is no answer to one of the questions.
        """
        self._path = path
        self._offsets = array("q", [_ABSENT]) * questions
        self._states = bytearray(questions)
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as exc:
            raise self._unusable(exc) from exc
        try:
            self._end = self._read_all()
            self._file.truncate(self._end)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def state(self, index: int) -> State:
        """Tell whether a question has an answer."""
        return _STATES[self._states[index]]

    def count(self, state: State) -> int:
        """Return how many questions are in a state."""
        return self._states.count(_STATES.index(state))

    def append(self, record: AnswerRecord) -> None:
        """Write an answer down at once, whole or not at all.

        Raises:
            CommandError: it cannot be written.
        """
        line = (record.model_dump_json(exclude_defaults=True) + "\n").encode()
        try:
            left = line
            while left:  # a full disk takes a part, then none: what is torn is cut next time
                left = left[self._file.write(left) :]
        except OSError as exc:
            with suppress(OSError):  # or else it is cut when the file is opened
                self._file.truncate(self._end)
            raise self._unusable(exc) from exc
        self._place(record, self._end)
        self._end += len(line)

    def in_order(self) -> Iterator[AnswerRecord]:
        """Yield the answers in the order of their questions, which may have none."""
        with self._path.open("rb") as file:
            for offset in self._offsets:
                if offset != _ABSENT:
                    if file.tell() != offset:
                        file.seek(offset)
                    yield AnswerRecord.model_validate_json(file.readline())

    def _read_all(self) -> int:
        """Find the lines, and return where the last whole one ends."""
        end = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = AnswerRecord.model_validate_json(line)
                    self._place(record, end)
                except (ValidationError, IndexError) as exc:
                    what = f"line {number} of {self._path} is no answer to one of the questions"
                    raise CommandError(what, "Take the line out, or name another --out.") from exc
                end += len(line)
        return end

    def _place(self, record: AnswerRecord, offset: int) -> None:
        if record.index < 0:
            raise IndexError(record.index)
        self._offsets[record.index] = offset
        self._states[record.index] = 1 if record.failure is None else 2

    def _unusable(self, exc: OSError) -> CommandError:
        what = f"cannot use {self._path}: {exc.strerror or exc}"
        return CommandError(what, "See to the disk, or name another folder with --out.")
