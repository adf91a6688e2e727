"""Commands of the terminal: names, arguments, parsing of a line."""

import shlex
from dataclasses import dataclass

from llava_serve.errors import CommandError

# name: (what it takes, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "/image": ("F", "add a picture, a path or a web address, to the next question"),
    "/video": ("F", "add a video to the next question"),
    "/system": ("TEXT", "set the system prompt; without TEXT, remove it"),
    "/again": ("", "ask the last question again, in place of its answer"),
    "/reset": ("", "begin anew, without pictures; the system prompt stays"),
    "/save": ("F", "write the conversation, pictures included, to a JSON file"),
    "/load": ("F", "go on with a saved conversation"),
    "/help": ("", "show this list"),
    "/exit": ("", "leave; so does Ctrl-D"),
}
TAKES_FILE = frozenset(name for name, (takes, _) in COMMANDS.items() if takes == "F")


@dataclass(frozen=True, slots=True)
class Command:
    """One parsed command line."""

    name: str
    argument: str = ""


def is_command(line: str) -> bool:
    """A question may begin with a slash too, behind a blank."""
    return line.startswith("/")


def parse(line: str) -> Command:
    """Read one command line; a file name may stand in quotes, as a terminal pastes it.

    Raises:
        CommandError: no such command, or it lacks its file, or takes nothing.
    """
    name, _, rest = line.strip().partition(" ")
    argument = rest.strip()
    if name not in COMMANDS:
        raise CommandError(
            f"there is no command {name}",
            "/help lists them; put a blank before the slash to ask this as a question.",
        )
    takes, _ = COMMANDS[name]
    if takes == "F":
        argument = _unquote(argument)
        if not argument:
            raise CommandError(f"{name} needs a file", f"Write {name} F.")
    if argument and not takes:
        raise CommandError(f"{name} takes nothing, but got {argument!r}", f"Write {name} alone.")
    return Command(name, argument)


def _unquote(text: str) -> str:
    """`'my file.png'` and `my\\ file.png` are one name; any other text is taken as it is."""
    try:
        words = shlex.split(text)
    except ValueError:
        return text
    return words[0] if len(words) == 1 else text
