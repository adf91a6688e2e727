"""Terminal input: lines of a pipe or a file, or questions edited at a prompt."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.output import create_output

from llava_serve.errors import CommandError, ServeError
from llava_serve.terminal.chat import Chat
from llava_serve.terminal.command import COMMANDS, TAKES_FILE, is_command
from llava_serve.terminal.output import Notes
from llava_serve.terminal.text import decode_line

_LONGEST_LINE = 1 << 20  # bytes
_RETRYABLE = 429  # the lowest status at which the same question may succeed later


async def answer_lines(chat: Chat, notes: Notes, lines: AsyncIterator[str]) -> bool:
    """Take all lines; return whether all of them succeeded.

    A command that fails ends the input, because the next questions rely on it.
    """
    succeeded = True
    async for line in lines:
        try:
            if not await chat.take(line):
                break
        except ServeError as exc:
            notes.failed(exc)
            succeeded = False
            if is_command(line):
                break
    return succeeded


async def lines_of(source: TextIO) -> AsyncIterator[str]:
    """Yield lines without blocking the loop where the system can wait for them.

    Raises:
        CommandError: a line is longer than 1 MiB.
    """
    kind = os.fstat(source.fileno()).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):  # files cannot be waited for, nor block
        while raw := source.buffer.readline(_LONGEST_LINE + 1):
            if len(raw) > _LONGEST_LINE:
                raise _too_long()
            yield decode_line(raw, source.encoding)
        return
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), source
    )
    try:
        while raw := await _line(reader):
            yield decode_line(raw, source.encoding)
    finally:
        transport.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError as exc:
        raise _too_long() from exc


def _too_long() -> CommandError:
    message = "a line on standard input is longer than 1 MiB"
    return CommandError(message, "Write one question a line.")


class CommandCompleter(Completer):
    """Completes commands, and file names after those that take one."""

    def __init__(self) -> None:
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        name, blank, rest = text.partition(" ")
        if blank and name in TAKES_FILE:
            yield from self._files.get_completions(Document(rest), event)
        elif not blank and name.startswith("/"):
            for known, (_, does) in COMMANDS.items():
                if known.startswith(name):
                    yield Completion(known, -len(name), display_meta=does)


async def talk(chat: Chat, notes: Notes) -> None:
    """Take lines until Ctrl-D or /exit."""
    # Where answers go into a file, the prompt still appears on the terminal.
    session: PromptSession[str] = PromptSession(
        completer=CommandCompleter(),
        complete_while_typing=False,
        output=create_output(always_prefer_tty=True),
    )
    while True:
        try:
            line = await session.prompt_async(_prompt(chat))
        except KeyboardInterrupt:
            notes.say("Ctrl-D or /exit leaves")
            continue
        except EOFError:
            return
        if not await _take(chat, notes, line):
            return


async def _take(chat: Chat, notes: Notes, line: str) -> bool:
    taking = asyncio.create_task(chat.take(line))
    try:
        with _cancelled_by_ctrl_c(taking):
            return await taking
    except ServeError as exc:
        notes.failed(exc)
        if _is_question(line) and exc.status >= _RETRYABLE:
            notes.say("/again asks the question again")
    except asyncio.CancelledError:
        notes.say("stopped")
    return True


def _is_question(line: str) -> bool:
    return not is_command(line) or line.strip() == "/again"


@contextmanager
def _cancelled_by_ctrl_c(task: asyncio.Task[bool]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _prompt(chat: Chat) -> str:
    attached = len(chat.history.attached)
    return f"[{attached} attached] > " if attached else "> "
