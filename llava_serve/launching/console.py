"""What a launch shows: the processes' lines behind a coloured name, and its own notes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.text import Text

_COLORS = ("cyan", "green", "magenta", "yellow", "blue", "bright_red")


class LaunchConsole:
    """Writes everything to one console; a line of a process is never cut or wrapped."""

    def __init__(self, names: Sequence[str], console: Console) -> None:
        self._console = console
        self._width = max(map(len, (*names, "launch")))
        self._styles = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(names)}

    def line(self, name: str, text: str) -> None:
        """Show one line that a process wrote."""
        self._write(name, self._styles[name], Text.from_ansi(text))

    def note(self, text: str) -> None:
        """Show what the launcher itself has to say."""
        self._write("launch", "bold", Text(text, style="bold"))

    def _write(self, name: str, style: str, text: Text) -> None:
        prefix = Text(f"{name:<{self._width}} | ", style=style)
        with self._console.capture() as rendered:
            self._console.print(prefix + text, soft_wrap=True, highlight=False)
        write_or_drop(self._console.file, rendered.get())


def write_or_drop(file: IO[str], text: str) -> None:
    """Write `text` if that is possible: for want of a log nothing is ended.

    On a full disk what comes later is tried again. When the reader has left, all of it goes
    nowhere, Python's own flush at the exit included.
    """
    try:
        file.write(text)
        file.flush()
    except BrokenPipeError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), file.fileno())
    except OSError:
        pass
