"""A chat with the echo engine, and files to talk about."""

import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.media.reader import MediaReader
from llava_serve.terminal.attachment import Attachments
from llava_serve.terminal.chat import Chat
from llava_serve.terminal.chat_model import LocalModel
from llava_serve.terminal.config import CliConfig
from llava_serve.terminal.history import History
from llava_serve.terminal.output import Notes, PlainWriter


@dataclass(frozen=True, slots=True)
class Talk:
    """A chat and what it has written so far."""

    chat: Chat
    notes: Notes
    out: io.StringIO
    err: io.StringIO


MakeTalk = Callable[[Engine], Talk]


@pytest.fixture
async def make_talk() -> AsyncIterator[MakeTalk]:
    config = CliConfig()
    async with MediaReader(config) as reader:

        def make(engine: Engine) -> Talk:
            out, err = io.StringIO(), io.StringIO()
            notes = Notes(Console(file=err, width=200))
            model = LocalModel(engine, reader, config)
            attachments = Attachments(reader, config)
            chat = Chat(model, attachments, History(), PlainWriter(out), notes)
            return Talk(chat, notes, out, err)

        yield make


@pytest.fixture
def talk(make_talk: MakeTalk) -> Talk:
    return make_talk(EchoEngine("echo"))


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    path = tmp_path / "red picture.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return path


@pytest.fixture
def video_file(tmp_path: Path) -> Path:
    """Three frames; what a GIF is depends on whether it is given as a picture or as a video."""
    path = tmp_path / "clip.gif"
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path
