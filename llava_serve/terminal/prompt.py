"""Questions typed at a terminal: editing, completion, Ctrl-C for the answer alone."""

import asyncio
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.output import create_output

from llava_serve.errors import ServeError
from llava_serve.terminal.chat import Chat
from llava_serve.terminal.command import COMMANDS, TAKES_FILE, is_command
from llava_serve.terminal.notes import Notes

_PASSES = 429  # from this status on, the same question may fare better next time


class CommandCompleter(Completer):
    """Completes the commands, and file names behind those that take one."""

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
        with _interrupted_by_ctrl_c(taking):
            return await taking
    except ServeError as exc:
        notes.failed(exc)
        if _was_asked(line) and exc.status >= _PASSES:
            notes.say("/again asks the question again")
    except asyncio.CancelledError:
        notes.say("stopped")
    return True


def _was_asked(line: str) -> bool:
    return not is_command(line) or line.strip() == "/again"


@contextmanager
def _interrupted_by_ctrl_c(task: "asyncio.Task[bool]") -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _prompt(chat: Chat) -> str:
    attached = len(chat.history.attached)
    return f"[{attached} attached] > " if attached else "> "
