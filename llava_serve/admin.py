"""Operators' command: a controller's workers and models, drains, removal, its log level."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
from pydantic import TypeAdapter
from yarl import URL

from llava_serve.args import parse, require_http
from llava_serve.cluster_token import bearer, token_file
from llava_serve.config import STATE
from llava_serve.errors import CommandError, ServeError
from llava_serve.http.client_error import controller_error, remote_error
from llava_serve.http.tls import trust
from llava_serve.logs import replace_unprintable
from llava_serve.secret_file import read_secret
from llava_serve.text_table import text_table
from llava_serve.tls_config import TrustConfig

_PROGRAM = "python -m llava_serve.admin"
_USAGE = f"""usage: {_PROGRAM} workers
       {_PROGRAM} models
       {_PROGRAM} drain WORKER
       {_PROGRAM} undrain WORKER
       {_PROGRAM} remove WORKER
       {_PROGRAM} log-level debug|info|warning|error

WORKER is an id or an address that `workers` shows. Each takes --controller and --help."""
_ROWS = TypeAdapter(list[dict[str, Any]])
_SHOWN_BYTES = 200  # of an answer that no controller gives
_LIMIT = aiohttp.ClientTimeout(total=30)
_CHANGES = {"drain": ("POST", "/drain"), "undrain": ("POST", "/undrain"), "remove": ("DELETE", "")}
_DONE = {
    "drain": "gets nothing new; `workers` shows it as draining, and as drained when all has ended",
    "undrain": "is in dispatch again",
    "remove": "is removed; if it lives, it joins again with its next heartbeat",
}


@dataclass(frozen=True, kw_only=True)
class AdminConfig(TrustConfig):
    """Look after the workers of a controller. It wants the cluster's token, or an admin's key."""

    controller: Annotated[str, "address of the controller", "--controller-address"] = (
        "http://127.0.0.1:10000"
    )
    api_key_file: Annotated[
        Path | None, "file with an API key that has the role admin; default: the cluster's token"
    ] = None
    cluster_token_file: Annotated[
        Path | None, "file with the controller's token; default: the one in the state folder"
    ] = None
    state_dir: Annotated[Path, "folder of the cluster token"] = STATE

    def __post_init__(self) -> None:
        require_http(self, "controller")

    @property
    def secret(self) -> str:
        """What the command shows the controller. Raises: CommandError, when it cannot be read."""
        if self.api_key_file is not None:
            return read_secret(self.api_key_file)
        return read_secret(
            self.secret_file,
            "the cluster token",
            "Name the controller's one with --cluster-token-file, or a file with the key of an "
            "admin with --api-key-file.",
        )

    @property
    def secret_file(self) -> Path:
        return self.api_key_file or token_file(self.cluster_token_file, self.state_dir)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; exits with code 1 when the controller refuses, 2 when it is misspelt."""
    replace_unprintable()
    words = sys.argv[1:] if argv is None else argv
    match words:
        case ["workers" | "models" as what, *flags]:
            asked = _show(parse(AdminConfig, flags, program=f"{_PROGRAM} {what}"), what)
        case ["drain" | "undrain" | "remove" as change, worker, *flags] if worker[:1] != "-":
            config = parse(AdminConfig, flags, program=f"{_PROGRAM} {change} WORKER")
            method, suffix = _CHANGES[change]
            path = f"/admin/workers/{quote(worker, safe='')}{suffix}"
            asked = _change(config, method, path, None, f"{worker} {_DONE[change]}")
        case ["log-level", level, *flags] if level[:1] != "-":
            config = parse(AdminConfig, flags, program=f"{_PROGRAM} log-level LEVEL")
            body = {"level": level}
            asked = _change(config, "PUT", "/admin/log-level", body, f"the log level is {level}")
        case ["-h" | "--help", *_]:
            sys.stdout.write(_USAGE + "\n")
            return 0
        case _:
            sys.stderr.write(_USAGE + "\n")
            return 2
    try:
        asyncio.run(asked)
    except ServeError as exc:
        sys.stderr.write(exc.with_remedy + "\n")
        return 1
    return 0


async def _show(config: AdminConfig, what: str) -> None:
    status, content = await _ask(config, "GET", f"/admin/{what}")
    try:
        listed = _ROWS.validate_json(content)
    except ValueError as exc:
        raise _foreign(config, status, content) from exc
    if any(row.keys() != listed[0].keys() for row in listed):
        raise _foreign(config, status, content)
    sys.stdout.write(table(listed) if listed else f"there are no {what}\n")


async def _change(config: AdminConfig, method: str, path: str, body: Any, done: str) -> None:
    status, content = await _ask(config, method, path, body)
    if status != 204:
        raise _foreign(config, status, content)
    sys.stdout.write(done + "\n")


def _foreign(config: AdminConfig, status: int, content: bytes) -> CommandError:
    shown = content[:_SHOWN_BYTES].decode(errors="replace")
    return CommandError(
        f"{config.controller} is not a controller of llava_serve: it answered {status} {shown!r}",
        "Name the controller's address with --controller; its port is 10000 where none was given.",
    )


async def _ask(config: AdminConfig, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Return the status and the body of a good answer."""
    address = config.controller.rstrip("/")
    headers = bearer(config.secret)
    connector = aiohttp.TCPConnector(ssl=trust(config.ca_file))
    async with aiohttp.ClientSession(
        connector=connector, trust_env=False, timeout=_LIMIT
    ) as session:
        try:
            async with session.request(
                method,
                URL(address + path, encoded=True),
                json=body,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise controller_error(address, exc) from exc
    if answer.status >= 300:
        refused = remote_error(content, answer.status)
        if answer.status in (401, 403):
            refused.remedy += f" Shown was what {config.secret_file} holds."
        raise refused
    return answer.status, content


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return records of the same fields as a table."""
    return text_table([[*rows[0]], *([_cell(value) for value in row.values()] for row in rows)])


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
