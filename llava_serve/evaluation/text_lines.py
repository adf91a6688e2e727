"""Lines of a text file of the user's, each with its number: bounded, and of UTF-8."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from llava_serve.errors import CommandError

_LONGEST_BYTES = 64 << 20  # of one line: a longer one is a file of another form


def numbered_lines(path: Path, flag: str = "--data") -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers from 1.

    Raises:
        CommandError: the file cannot be read, or a line is too long or not UTF-8; names file and
            line, and as the remedy the flag that the file comes from.
    """
    remedy = f"Correct the file, or {flag}."
    try:
        with path.open("rb") as file:
            lines = iter(partial(file.readline, _LONGEST_BYTES), b"")
            for number, line in enumerate(lines, 1):
                if len(line) == _LONGEST_BYTES:
                    what = f"line {number} of {path} is longer than {_LONGEST_BYTES >> 20} MiB"
                    raise CommandError(what, remedy)
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as exc:
                    what = f"line {number} of {path} is no text in UTF-8"
                    raise CommandError(what, remedy) from exc
                if text.strip():
                    yield number, text
    except OSError as exc:
        raise CommandError(f"cannot read {path}: {exc.strerror or exc}", remedy) from exc
