"""Table of a submission: an Excel workbook, or CSV where openpyxl is not installed."""

import csv
import importlib.util
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.tsv_file import TsvRow

logger = logging.getLogger(__name__)

Cell = str | int | float | None

_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class ColumnTypes:
    """Which columns of a TSV hold numbers alone: pandas would write those as numbers."""

    def __init__(self, rows: Iterable[TsvRow], columns: Sequence[str]) -> None:
        self._types: dict[str, type[int | float | str]] = dict.fromkeys(columns, int)
        for row in rows:
            for name in columns:
                self._see(name, row.fields.get(name))

    def cell(self, name: str, text: str | None) -> Cell:
        """Return a field as it is written; None for a missing value."""
        return None if text is None else self._types[name](text)

    def _see(self, name: str, text: str | None) -> None:
        known = self._types[name]
        if known is str:
            return
        if text is None or not _INTEGER.fullmatch(text):
            is_number = text is None or _NUMBER.fullmatch(text)
            self._types[name] = float if is_number else str


def beside(
    rows: Iterable[TsvRow], answered: Iterable[Answered]
) -> Iterator[tuple[TsvRow, str | None]]:
    """Yield each row with its answer, None where it was not asked or has none.

    Both are in the order of the file; the question's metadata tell the number of its `row`.
    """
    upcoming = iter(answered)
    one = next(upcoming, None)
    for row in rows:
        if one is not None and one[0].metadata["row"] == row.number:
            yield row, one[1].text
            one = next(upcoming, None)
        else:
            yield row, None


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Path:
    """Write a table, a row at a time, and return where: `path` with `.xlsx` or `.csv` behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("openpyxl") is None:
        logger.warning(
            "openpyxl is not installed, so %s is a CSV file; for Excel: pip install openpyxl", path
        )
        return _write_csv(path.with_name(f"{path.name}.csv"), columns, rows)
    return _write_workbook(path.with_name(f"{path.name}.xlsx"), columns, rows)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def _write_workbook(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Path:
    openpyxl = importlib.import_module("openpyxl")  # an extra, not required
    write_only_cell = importlib.import_module("openpyxl.cell").WriteOnlyCell
    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet("Sheet1")  # pandas calls it so

    def cells(row: Sequence[Cell]) -> Iterator[object]:
        for value in row:
            if isinstance(value, str):
                cell = write_only_cell(sheet, value=_NOT_IN_XML.sub("", value))
                cell.data_type = "s"  # an answer that begins with "=" is no formula
                yield cell
            else:
                yield value

    sheet.append(list(columns))
    for row in rows:
        sheet.append(list(cells(row)))
    workbook.save(path)
    return path
