"""Logging: one format for every process, a request id on each line, and what may be printed."""

import asyncio
import io
import logging
import re
import secrets
import sys
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOST_CHARACTERS = 4000  # of one line
_NOISY = ("httpx", "httpcore", "aiohttp.access", "PIL", "matplotlib", "asyncio")
_FORMAT = "%(asctime)s %(levelname).1s %(name)s [%(request_id)s] %(message)s"


def new_request_id() -> str:
    """Return an id that is unique for practical purposes and short enough to read aloud."""
    return "req-" + secrets.token_hex(6)


def add_request_id(record: logging.LogRecord) -> bool:
    """Let a record through, with the id of the request that caused it. A handler's filter."""
    record.request_id = request_id.get()
    return True


def log_a_bug(task: asyncio.Task[None]) -> None:
    """Log what ended a task that should have run on. A task's done-callback."""
    if not task.cancelled() and (bug := task.exception()) is not None:
        logging.getLogger(__name__).error("%s ended", task.get_name(), exc_info=bug)


class _Formatter(logging.Formatter):
    """Shows control characters, which requests can bring, instead of obeying them.

    What follows a line break is indented, so that no request can forge a line, and what is far too
    long is cut.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        line = super().formatMessage(record)
        if (more := len(line) - _MOST_CHARACTERS) > 0:
            line = f"{line[:_MOST_CHARACTERS]} ... and {more:,} characters more"
        line = _CONTROL.sub(lambda one: f"\\x{ord(one[0]):02x}", line)
        return line.replace("\n", "\n    ")


def configure(level: str) -> None:
    """Send the log to standard error; standard output belongs to the program's answers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(add_request_id)
    handler.setFormatter(_Formatter(_FORMAT, datefmt="%H:%M:%S"))
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """Choose the least severe message to log from here on."""
    logging.getLogger().setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def replace_unprintable() -> None:
    """Show `?` for a character that standard output cannot hold, where Python would raise.

    Standard error writes such a character as an escape sequence by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
