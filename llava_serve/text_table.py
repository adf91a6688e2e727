"""Table of text: columns that stand below each other, for terminals and pipes."""

from collections.abc import Iterable, Sequence

_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def text_table(rows: Iterable[Sequence[object]]) -> str:
    """Return lines whose columns stand below each other; the first row is the head."""
    cells = [[str(cell) or "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "".join(line.rstrip() + "\n" for line in lines)


def inert(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula.

    Source: owasp.org/www-community/attacks/CSV_Injection.
    """
    is_formula = isinstance(cell, str) and cell.startswith(_FORMULA_BEGINS)
    return f"'{cell}" if is_formula else cell
