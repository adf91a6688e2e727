"""A TSV file is read a row at a time, and a fault in it is told with its row."""

import base64
import csv
import random
import tracemalloc
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.tsv import Tsv
from llava_serve.evaluation.tasks.tsv_file import TsvFile
from tests.evaluation.tasks.drawn import png, write_tsv

COLUMNS = ["index", "image", "question", "A", "B", "answer"]


def task_with(folder: Path, rows: str, header: str = "\t".join(COLUMNS)) -> Tsv:
    path = folder / "own.tsv"
    path.write_bytes(f"{header}\n{rows}".encode())
    return Tsv(path)


def test_quoted_fields_hold_tabs_lines_and_quotes(tmp_path: Path) -> None:
    rows = [[1, "x", 'a\ttab, a\nline and "quotes"', " a", "", "A"], [2, "x", "b", "c", "d", "B"]]
    first, second = TsvFile(write_tsv(tmp_path / "own.tsv", COLUMNS, rows)).rows()
    assert first.fields == {
        "index": "1",
        "image": "x",
        "question": 'a\ttab, a\nline and "quotes"',
        "A": " a",
        "answer": "A",
    }
    assert (second.number, second.line) == (2, 4)


def test_any_table_is_read_as_by_the_csv_module(tmp_path: Path) -> None:
    chance = random.Random(5)
    parts = ["a", "é", '"', "\t", "\n", "'", ",", " ", "\\", "word"]
    columns = ["index", "b", "c"]
    for _ in range(200):
        rows = [
            ["x" + "".join(chance.choices(parts, k=chance.randrange(6))) for _ in columns]
            for _ in range(chance.randrange(6))
        ]
        path = write_tsv(tmp_path / "own.tsv", columns, rows)
        assert [list(row.fields.values()) for row in TsvFile(path).rows()] == rows


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    path.write_bytes("\ufeffindex\tquestion\r\n1\tWas ist es?\r\n\r\n2\tä\r\n".encode())
    assert [row.fields for row in TsvFile(path).rows()] == [
        {"index": "1", "question": "Was ist es?"},
        {"index": "2", "question": "ä"},
    ]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("1\tx\tq\ta\tb\n", r"row 1 of .*own.tsv \(line 2\) has 5 fields, and the header 6"),
        ("1\t\tq\ta\tb\tA\n2\t\tq\ta\tb\tB\tC\n", r"row 2 of .* \(line 3\) has 7 fields"),
        ('1\t\t"q\ta\tb\tA\n', r"row 1 of .*own.tsv .*unexpected end of data"),
        ('1\t\t"q" r\ta\tb\tA\n', r"row 1 of .*own.tsv \(line 2\) .*expected after"),
        (f"1\t{'no ' * 30}base64\tq\ta\tb\tA\n", r"row 1 of .* holds an image that is not base64"),
        ("1\t9\tq\ta\tb\tA\n", r"row 1 of .* takes its image from row '9', which has none"),
        ("1\t['abc\tq\ta\tb\tA\n", r"row 1 of .* takes its image from row"),
        (f"1\t[{'a ' * 40}]\tq\ta\tb\tA\n", r"row 1 of .* a list of images that cannot be read"),
        ("\t\tq\ta\tb\tA\n", r"row 1 of .* \(line 2\) has nothing in the column 'index'"),
        ("1\t\tNaN\ta\tb\tA\n", r"row 1 of .* \(line 2\) has nothing in the column 'question'"),
    ],
)  # fmt: skip
def test_a_malformed_row_is_told_with_file_and_row(tmp_path: Path, rows: str, fault: str) -> None:
    with pytest.raises(CommandError, match=fault):
        list(task_with(tmp_path, rows).questions())


def test_a_line_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    path.write_bytes(b"index\tquestion\n1\tgr\xfcn\n")
    with pytest.raises(CommandError, match=r"line 2 of .*own.tsv is not UTF-8"):
        list(TsvFile(path).rows())


def test_a_file_that_is_missing_empty_or_has_a_column_twice_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot read .*own.tsv: No such file"):
        list(Tsv(tmp_path / "own.tsv").questions())
    (tmp_path / "own.tsv").touch()
    with pytest.raises(CommandError, match=r"own.tsv is empty"):
        list(Tsv(tmp_path / "own.tsv").questions())
    with pytest.raises(CommandError, match=r"own.tsv has two columns 'index'"):
        list(task_with(tmp_path, "1\t1\n", "index\tindex").questions())


def test_rows_are_found_again_where_they_begin(tmp_path: Path) -> None:
    rows = [[n, "é" * n, "two\nlines" if n % 2 else "q", "a", "b", "A"] for n in range(20)]
    file = TsvFile(write_tsv(tmp_path / "own.tsv", COLUMNS, rows))
    for row in file.rows():
        assert file.row_at(row.offset).fields == row.fields


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """100 kB of base64 a row; an image of every row stays in no memory."""
    path = tmp_path / "own.tsv"
    image = base64.b64encode(png().ljust(75_000, b"\0")).decode()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for number in range(60):
            writer.writerow([number, "59" if number == 1 else image, "Which?", "a", "b", "A"])
    tracemalloc.start()
    try:
        count = sum(len(question.turns[0].media) for question in Tsv(path).questions())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 60
    assert path.stat().st_size > 5_900_000
    assert peak < 1_500_000
