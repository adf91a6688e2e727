"""What the terminal says beside the answers, on standard error: notes, errors, the help."""

import traceback

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llava_serve.errors import ServeError
from llava_serve.terminal.command import COMMANDS
from llava_serve.terminal.visible import visible


class Notes:
    """Writes whole words only: nothing that came from outside is read as markup."""

    def __init__(self, console: Console, debug: bool = False) -> None:
        self.console = console
        self._debug = debug

    def say(self, text: str) -> None:
        self._write(visible(text), "dim")

    def failed(self, error: ServeError) -> None:
        """Show what happened and what to do; with --debug also where."""
        if self._debug:
            self._write(visible("".join(traceback.format_exception(error))), "dim")
        self._write(f"error: {visible(error.message)}", "red")
        self._write(f"       {visible(error.remedy)}", "")

    def help(self) -> None:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, (takes, does) in COMMANDS.items():
            table.add_row(Text(f"{name} {takes}", style="bold"), Text(does))
        table.add_row(Text("Ctrl-C", style="bold"), Text("stop the answer"))
        self.console.print(table)

    def _write(self, text: str, style: str) -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)
