"""From settings to a chat: the files are read, the model or the controller is found."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from llava_serve.client import ChatClient
from llava_serve.engines.base import Engine
from llava_serve.errors import CommandError, ModelNotFound, NoWorker
from llava_serve.media.reader import MediaReader
from llava_serve.terminal.answerer import Answerer
from llava_serve.terminal.attachment import Attachments
from llava_serve.terminal.config import CliConfig
from llava_serve.terminal.history import History
from llava_serve.terminal.local import LocalAnswerer
from llava_serve.terminal.notes import Notes
from llava_serve.terminal.remote import ControllerAnswerer
from llava_serve.terminal.typed import words_of


async def first_history(config: CliConfig) -> History:
    """Read what --image-file, --video-file and --system give; needs no model, so it comes first.

    Raises:
        ServeError: a file cannot be read, or is no picture or video.
    """
    history = History(system=config.system and words_of(config.system))
    async with MediaReader(config) as reader:
        attachments = Attachments(reader, config)
        for source in config.image_file:
            history = history.with_media(await attachments.image(source))
        for source in config.video_file:
            history = history.with_media(await attachments.video(source))
    return history


@asynccontextmanager
async def answering(
    config: CliConfig, engine: Engine | None, reader: MediaReader, notes: Notes
) -> AsyncIterator[Answerer]:
    """Yield who answers: `engine`, or without one the controller of the settings.

    Raises:
        ServeError: the controller does not answer, or does not serve the wanted model.
    """
    if engine is not None:
        yield LocalAnswerer(engine, reader, config)
        return
    async with aiohttp.ClientSession(trust_env=False) as session:
        client = ChatClient(str(config.controller), session)
        model = await _choose_model(client, config.model_name, notes)
        yield ControllerAnswerer(client, model, config)


async def _choose_model(client: ChatClient, wanted: str | None, notes: Notes) -> str:
    served = [card.id for card in await client.models()]
    if wanted is not None and wanted not in served:
        raise ModelNotFound(wanted, served)
    if not served:
        raise CommandError(
            f"the controller at {client.address} has no live worker", NoWorker.remedy
        )
    if wanted is None and len(served) > 1:
        others = ", ".join(served[1:])
        notes.say(f"{served[0]} answers; --model-name chooses among it and {others}")
    return wanted or served[0]
