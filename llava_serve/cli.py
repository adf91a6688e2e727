"""Command of the terminal: a chat about pictures, or answers to the lines of a pipe.

Exit codes: 0 every line of a pipe was done, or the user left the prompt, whatever became of single
questions there; 1 a question or a command in a pipe failed, or who reads the answers has left; 2 a
flag, a file, the checkpoint or the controller is wrong and nothing was asked, or a pipe cannot be
read on; 130 interrupted.
"""

import asyncio
import os
import sys
from contextlib import closing

from rich.console import Console

from llava_serve import args, logs
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from llava_serve.errors import ServeError
from llava_serve.logs import replace_unprintable
from llava_serve.media.reader import MediaReader
from llava_serve.terminal.attachment import Attachments, initial_history
from llava_serve.terminal.chat import Chat
from llava_serve.terminal.chat_model import open_model
from llava_serve.terminal.config import CliConfig
from llava_serve.terminal.history import History
from llava_serve.terminal.input import answer_lines, lines_of, talk
from llava_serve.terminal.output import JsonWriter, Notes, PlainWriter


def main() -> int:
    """Chat until the input ends."""
    replace_unprintable()
    config = args.parse(CliConfig)
    logs.configure("debug" if config.debug else config.log_level)
    notes = Notes(Console(stderr=True), config.debug)
    try:
        return 0 if _run(config, notes) else 1
    except ServeError as exc:
        notes.failed(exc)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who reads the answers has left; Python must not flush to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(config: CliConfig, notes: Notes) -> bool:
    history = asyncio.run(initial_history(config))
    if config.controller:
        return asyncio.run(_chat(config, None, history, notes))
    with notes.console.status("loading the model", spinner="line"):
        engine = build_engine(config, slots=1)  # one person types one question at a time
    with closing(engine):
        return asyncio.run(_chat(config, engine, history, notes))


async def _chat(config: CliConfig, engine: Engine | None, history: History, notes: Notes) -> bool:
    writer = JsonWriter(sys.stdout) if config.json else PlainWriter(sys.stdout)
    async with (
        MediaReader(config) as reader,
        open_model(config, engine, reader, notes) as model,
    ):
        chat = Chat(model, Attachments(reader, config), history, writer, notes)
        if not sys.stdin.isatty():
            return await answer_lines(chat, notes, lines_of(sys.stdin))
        where = "" if engine is None else ", loaded by this program"
        notes.say(f"{model.name} answers{where}; /help lists the commands")
        await talk(chat, notes)
        return True


if __name__ == "__main__":
    sys.exit(main())
