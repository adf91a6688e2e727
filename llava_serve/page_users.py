"""The commands `python -m llava_serve.page_users add`, `… remove` and `… list`."""

import getpass
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from llava_serve.args import parse
from llava_serve.errors import CommandError
from llava_serve.logins import passwords
from llava_serve.logins.auth_file import check_name, read_users, write_users

_PROGRAM = "python -m llava_serve.page_users"
_USAGE = f"""usage: {_PROGRAM} add NAME --auth-file FILE
       {_PROGRAM} remove NAME --auth-file FILE
       {_PROGRAM} list --auth-file FILE
"""


@dataclass(frozen=True, kw_only=True)
class PageUsersConfig:
    """Say who may sign in at the page. A page that runs takes up each change by itself.

    `add` asks for the password without showing it, or reads it from a pipe; a user who is there
    already gets a new one, and has to sign in again.
    """

    auth_file: Annotated[Path, "file of the users, the page's --auth-file"]


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["add", name, *flags] if not name.startswith("-"):
                _add(name, _file(f"{_PROGRAM} add NAME", flags))
            case ["remove", name, *flags] if not name.startswith("-"):
                _remove(name, _file(f"{_PROGRAM} remove NAME", flags))
            case ["list", *flags]:
                path = _file(f"{_PROGRAM} list", flags)
                sys.stdout.writelines(f"{name}\n" for name in sorted(read_users(path)))
            case ["-h" | "--help"]:
                sys.stdout.write(_USAGE)
            case _:
                raise SystemExit(_USAGE.rstrip())
    except CommandError as exc:
        raise SystemExit(exc.with_remedy) from exc


def _file(program: str, flags: list[str]) -> Path:
    return parse(PageUsersConfig, flags, program=program).auth_file


def _add(name: str, path: Path) -> None:
    check_name(name)
    users = read_users(path) if path.exists() else {}
    word = "has a new password" if name in users else "may sign in"
    write_users(path, users | {name: passwords.hashed(_password())})
    sys.stdout.write(f"{name} {word}\n")


def _remove(name: str, path: Path) -> None:
    users = read_users(path)
    if name not in users:
        raise CommandError(f"there is no user {name!r} in {path}", f"`{_PROGRAM} list` names them.")
    del users[name]
    write_users(path, users)
    sys.stdout.write(f"{name} may not sign in any longer\n")


def _password() -> str:
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("The same again: "):
            raise CommandError("the two are not the same", "Begin again.")
    if not passwords.LEAST <= len(password) <= passwords.MOST:
        raise CommandError(
            f"the password has {len(password)} characters; it needs {passwords.LEAST} to "
            f"{passwords.MOST}",
            "Choose another one; several words are a good one.",
        )
    return password


if __name__ == "__main__":
    main()
