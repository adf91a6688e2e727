"""TSV file of questions, as VLMEvalKit and MMBench write them, read one row at a time.

Fields may be images in base64 of many megabytes, so no more than a row is in memory.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.task_files import unreadable

# What stands for a missing value. Source: pandas-dev/pandas@v3.1.1
# pandas/_libs/parsers.pyx::STR_NA_VALUES, with which the originals read these files.
_NO_VALUE = {
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
}
_ROW_LIMIT = 256 << 20  # bytes of a line, and characters of a field
_REMEDY = "Correct the row, or download the file again."


@dataclass(frozen=True, slots=True)
class TsvRow:
    """A row: its fields that have a value, by their columns' names in the file.

    `number` counts rows from 1, without the header; `line` is the file's line on which the row
    ends, from 1; `offset` is where it begins, in bytes.
    """

    path: Path
    number: int
    line: int
    offset: int
    fields: Mapping[str, str]

    def required(self, column: str) -> str:
        """Return a field.

        Raises:
            CommandError: it has no value.
        """
        if column not in self.fields:
            raise self.malformed(f"has nothing in the column {column!r}")
        return self.fields[column]

    def malformed(self, reason: str) -> CommandError:
        """Return the error of a row that is not of the format."""
        return _malformed(self.path, self.number, self.line, reason)


class TsvFile:
    """A file with a header; quotes as in CSV, UTF-8."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def columns(self) -> list[str]:
        """Return the names of the columns in their order.

        Raises:
            CommandError: the file cannot be read, has no header, or a name stands there twice.
        """
        try:
            with self.path.open("rb") as file:
                return _header(_TableLines(file, self.path))
        except OSError as exc:
            raise unreadable(self.path, exc) from exc

    def rows(self) -> Iterator[TsvRow]:
        """Yield the rows.

        Raises:
            CommandError: the file cannot be read, or a row is malformed; names file and row.
        """
        try:
            with self.path.open("rb") as file:
                lines = _TableLines(file, self.path)
                columns = _header(lines)
                yield from _rows(lines, columns)
        except OSError as exc:
            raise unreadable(self.path, exc) from exc

    def row_at(self, offset: int) -> TsvRow:
        """Return the row that begins at an offset in bytes; its `number` and `line` count from it.

        Raises:
            CommandError: the file cannot be read, or the row is malformed.
        """
        columns = self.columns()
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return next(_rows(_TableLines(file, self.path), columns))
        except OSError as exc:
            raise unreadable(self.path, exc) from exc


def table_in(data: Path, usual: str | None = None) -> Path:
    """Return a task's table: the file itself, or of a folder `usual` or its only TSV file.

    Raises:
        CommandError: the folder holds no TSV file, or several.
    """
    if not data.is_dir():
        return data
    if usual is not None and (data / usual).exists():
        return data / usual
    tables = sorted(data.glob("*.tsv"))
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        wanted = "one TSV file" if usual is None else f"{usual} or one other TSV file"
        what = f"{data} should hold {wanted}, and holds {names}"
        raise CommandError(what, "Name the file itself with --data.")
    return tables[0]


class _TableLines:
    """Lines of a file as text; knows where the next one begins."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self.path = path
        self.end = file.tell()
        self.count = 0

    def __iter__(self) -> "_TableLines":
        return self

    def __next__(self) -> str:
        line = self._file.readline(_ROW_LIMIT)
        if not line:
            raise StopIteration
        self.end += len(line)
        self.count += 1
        if len(line) == _ROW_LIMIT:
            what = f"line {self.count} of {self.path} is longer than {_ROW_LIMIT >> 20} MiB"
            raise CommandError(what, _REMEDY)
        try:
            return line.decode("utf-8-sig" if self.count == 1 else "utf-8")
        except UnicodeDecodeError as exc:
            what = f"line {self.count} of {self.path} is not UTF-8: {exc.reason}"
            raise CommandError(what, "Convert the file to UTF-8.") from exc


def _cells(lines: _TableLines) -> list[str] | None:
    """Return the next record, empty for an empty line; None at the end.

    Raises:
        csv.Error: the record is malformed.
    """
    line = next(lines, None)
    if line is None:
        return None
    text = line.rstrip("\r\n")
    if not text:
        return []
    if '"' not in text and "\r" not in text:  # most rows; the csv module takes ten times as long
        return text.split("\t")
    csv.field_size_limit(max(csv.field_size_limit(), _ROW_LIMIT))
    return next(csv.reader(chain([line], lines), delimiter="\t", strict=True))


def _header(lines: _TableLines) -> list[str]:
    try:
        columns = _cells(lines)
    except csv.Error as exc:
        raise CommandError(f"the header of {lines.path} cannot be read: {exc}", _REMEDY) from exc
    if not columns:
        raise CommandError(f"{lines.path} is empty", "Download it again, or correct --data.")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise CommandError(f"{lines.path} has two columns {twice[0]!r}", "Rename one of them.")
    return columns


def _rows(lines: _TableLines, columns: list[str]) -> Iterator[TsvRow]:
    number = 0
    while True:
        offset = lines.end
        try:
            cells = _cells(lines)
        except csv.Error as exc:
            raise _malformed(lines.path, number + 1, lines.count, str(exc)) from exc
        if cells is None:
            return
        if not cells:
            continue
        number += 1
        if len(cells) != len(columns):
            reason = f"has {len(cells)} fields, and the header {len(columns)}"
            raise _malformed(lines.path, number, lines.count, reason)
        named = zip(columns, cells, strict=True)
        fields = {name: cell for name, cell in named if cell not in _NO_VALUE}
        yield TsvRow(lines.path, number, lines.count, offset, fields)


def _malformed(path: Path, number: int, line: int, reason: str) -> CommandError:
    return CommandError(f"row {number} of {path} (line {line}) {reason}", _REMEDY)
