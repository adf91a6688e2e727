"""Questions from a pipe or a file on standard input, one a line."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from typing import TextIO

from llava_serve.errors import CommandError, ServeError
from llava_serve.terminal.chat import Chat
from llava_serve.terminal.command import is_command
from llava_serve.terminal.notes import Notes
from llava_serve.terminal.typed import line_of

_LONGEST_LINE = 1 << 20  # bytes


async def answer_lines(chat: Chat, notes: Notes, lines: AsyncIterator[str]) -> bool:
    """Take all lines; return whether all of them worked.

    A command that fails ends it, because what follows would be asked about something else.
    """
    all_worked = True
    async for line in lines:
        try:
            if not await chat.take(line):
                break
        except ServeError as exc:
            notes.failed(exc)
            all_worked = False
            if is_command(line):
                break
    return all_worked


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
            yield line_of(raw, source.encoding)
        return
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), source
    )
    try:
        while raw := await _line(reader):
            yield line_of(raw, source.encoding)
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
