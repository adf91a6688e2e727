"""Table of text: columns that stand below each other, for terminals and pipes."""

from collections.abc import Iterable, Sequence


def text_table(rows: Iterable[Sequence[object]]) -> str:
    """Return lines whose columns stand below each other; the first row is the head."""
    cells = [[str(cell) or "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "".join(line.rstrip() + "\n" for line in lines)
