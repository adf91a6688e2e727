"""Training file: a JSON array or JSON lines, of which one entry at a time is in memory."""

import json
from array import array
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from llava_serve.errors import CommandError
from llava_serve.training.json_array import LONGEST_BYTES, REMEDY, element_places
from llava_serve.training.sample import BrokenSample


class DataFile:
    """Entries of one file by their number, from 0; memory holds where they lie.

    Safe to use from any thread or process.

    Raises:
        CommandError: the file cannot be read, or is of neither form.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_lines = path.suffix == ".jsonl"
        self._starts, self._ends = array("q"), array("q")
        self._lines = array("q")
        if path.suffix not in (".json", ".jsonl"):
            raise CommandError(
                f"{path} is neither a .json nor a .jsonl file",
                "Name the file by its form: .json for an array, .jsonl for one object a line.",
            )
        for start, end in _lines(path, self._lines) if self._is_lines else element_places(path):
            self._starts.append(start)
            self._ends.append(end)

    def __len__(self) -> int:
        return len(self._starts)

    def place(self, number: int) -> str:
        """Say where in the file an entry is, as people count."""
        if self._is_lines:
            return f"{self.path}, line {self._lines[number]}"
        return f"{self.path}, entry {number + 1}"

    def entry(self, number: int) -> object:
        """Read an entry.

        Raises:
            BrokenSample: it is no JSON.
        """
        with self.path.open("rb") as file:
            file.seek(self._starts[number])
            text = file.read(self._ends[number] - self._starts[number])
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise BrokenSample(f"it is no JSON: {exc}") from exc


def _lines(path: Path, numbers: "array[int]") -> Iterator[tuple[int, int]]:
    """Yield where each line that is not blank begins and ends; add its number to `numbers`."""
    end = 0
    try:
        with path.open("rb") as file:
            lines = iter(partial(file.readline, LONGEST_BYTES), b"")
            for number, line in enumerate(lines, start=1):
                if len(line) == LONGEST_BYTES:
                    raise CommandError(
                        f"{path} has more than {LONGEST_BYTES >> 20} MiB in line {number}", REMEDY
                    )
                start, end = end, end + len(line)
                if line.strip():
                    numbers.append(number)
                    yield start, end
    except OSError as exc:
        raise CommandError(f"{path} cannot be read: {exc}", "Check the path.") from exc
