"""Child process: started in a group of its own, read line by line, ended in order."""

import asyncio
import os
import re
import signal
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

_LONGEST_LINE = 1 << 16  # bytes; what is longer is passed on in several lines
_LINE_END = re.compile(rb"[\r\n]+")  # a progress bar ends its lines with \r alone
_LAST_OUTPUT_S = 2.0

# Prints appear at once although they go into a pipe; progress bars write a line only now and then.
_ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "5"}

WriteLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Child:
    """A process that runs."""

    process: Process
    copying: asyncio.Task[None]

    async def ended(self) -> int:
        """Wait for the end; return the exit code, negative for a signal.

        Raises:
            Exception: what `write_line` raised, so that the process does not wait for a reader.
        """
        waiting = asyncio.create_task(self.process.wait())
        try:
            await asyncio.wait({waiting, self.copying}, return_when=asyncio.FIRST_COMPLETED)
            if self.copying.done():
                self.copying.result()
            return await waiting
        finally:
            waiting.cancel()


@asynccontextmanager
async def running(
    command: Sequence[str], write_line: WriteLine, grace_s: float
) -> AsyncIterator[Child]:
    """Run `command` while the body runs; then end it with SIGTERM, and SIGKILL after `grace_s`.

    It leads a process group of its own: a Ctrl-C in the terminal reaches the launcher only, and
    what the process itself started ends with it. A cancel during the grace period kills at once.
    """
    # Our own pipes, because before Python 3.13 asyncio's keep `wait` from returning while a
    # child's child holds them. The child watches its standard input: see `die_with_parent`.
    with _pipe() as (stdin, _held_open), _pipe() as (output, stdout):
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=stdin,
            stdout=stdout,
            stderr=STDOUT,
            start_new_session=True,
            env=os.environ | _ENVIRONMENT,
        )
        stdin.close()
        stdout.close()
        copying = asyncio.create_task(_copy_lines(output, write_line))
        try:
            yield Child(process, copying)
        finally:
            try:
                await _terminate(process, grace_s)
            finally:
                await _kill_group(process, copying)


@contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "wb", 0) as writer:
        yield reader, writer


async def _terminate(process: Process, grace_s: float) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), grace_s)


async def _kill_group(process: Process, copying: asyncio.Task[None]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS: no permission for a zombie
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    # The output ends with the group, unless something left the group and still holds the pipe.
    await asyncio.wait({copying}, timeout=_LAST_OUTPUT_S)
    copying.cancel()
    await asyncio.wait({copying})


async def _copy_lines(output: BinaryIO, write_line: WriteLine) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), output
    )
    rest = b""
    try:
        while chunk := await reader.read(_LONGEST_LINE):
            *lines, rest = _LINE_END.split(rest + chunk)
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in filter(None, lines):
                write_line(line.decode(errors="replace"))
        if rest:
            write_line(rest.decode(errors="replace"))
    finally:
        transport.close()
