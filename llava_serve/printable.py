"""Standard output of a program in whatever encoding it has."""

import io
import sys


def replace_unprintable() -> None:
    """Show `?` for a character that standard output cannot hold, where Python would raise.

    Standard error writes such a character as an escape sequence by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
