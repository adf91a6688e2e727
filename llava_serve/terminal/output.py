"""Terminal output: answers on standard output, notes and errors on standard error."""

import json
import traceback
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from llava_serve.errors import ServeError
from llava_serve.terminal.command import COMMANDS
from llava_serve.terminal.history import TurnResult
from llava_serve.terminal.text import visible


class AnswerWriter(Protocol):
    """Writes one answer: each new text, then what belongs to its end."""

    def delta(self, text: str) -> None:
        """Write new text."""
        ...

    def finish(self, result: TurnResult) -> None:
        """Write what belongs to the end of the answer."""
        ...


class PlainWriter:
    """Writes text as it comes; each answer ends with a line feed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def delta(self, text: str) -> None:
        self._out.write(visible(text))
        self._out.flush()

    def finish(self, result: TurnResult) -> None:
        nothing_came = not result.text and result.finish_reason in ("cancelled", "error")
        if not nothing_came and not result.text.endswith("\n"):
            self.delta("\n")


class JsonWriter:
    """Writes one JSON object on one line for each question, also for one that failed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def delta(self, text: str) -> None:
        """Write nothing before the end."""

    def finish(self, result: TurnResult) -> None:
        shown: dict[str, Any] = {
            "question": result.question,
            "answer": result.text,
            "finish_reason": result.finish_reason,
            "usage": result.usage and asdict(result.usage),
            "model": result.model,
        }
        if result.error is not None:
            shown["error"] = {**result.error.as_body()["error"], "message": result.error.message}
        self._out.write(json.dumps(shown) + "\n")
        self._out.flush()


class Notes:
    """Writes notes, errors and the help; text from outside is never read as markup."""

    def __init__(self, console: Console, debug: bool = False) -> None:
        self.console = console
        self._debug = debug
        self._is_passing = False

    def say(self, text: str) -> None:
        """Show a note."""
        self._write(visible(text), "dim")

    def pass_by(self, text: str) -> None:
        """Show a note in place of the last passing one, on a terminal only; "" takes it away."""
        if not self.console.is_terminal or not (text or self._is_passing):
            return
        self.console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
        self.console.print(Text(visible(text), style="dim"), end="")
        self._is_passing = bool(text)

    def failed(self, error: ServeError) -> None:
        """Show what happened and what to do; with --debug also where."""
        if self._debug:
            self._write(visible("".join(traceback.format_exception(error))), "dim")
        self._write(f"error: {visible(error.message)}", "red")
        self._write(f"       {visible(error.remedy)}", "")

    def help(self) -> None:
        """Show the list of commands."""
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, (takes, does) in COMMANDS.items():
            table.add_row(Text(f"{name} {takes}", style="bold"), Text(does))
        table.add_row(Text("Ctrl-C", style="bold"), Text("stop the answer"))
        self.console.print(table)

    def _write(self, text: str, style: str) -> None:
        self.pass_by("")
        self.console.print(Text(text, style=style), soft_wrap=True)
