"""The model that the terminal asks: an engine in this process, or one behind a controller."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol

import aiohttp
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from llava_serve import logs
from llava_serve.args import addresses_of
from llava_serve.client import ChatClient
from llava_serve.controllers import Controllers
from llava_serve.credential import credential_for
from llava_serve.engines.base import Engine
from llava_serve.errors import CommandError, ModelNotFound, NoWorker
from llava_serve.http.tls import trust
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.openai import ChatMessage
from llava_serve.request import Delta, FinishReason, GenerateRequest, SamplingParams, Usage
from llava_serve.terminal.config import CliConfig
from llava_serve.terminal.output import Notes


class ChatModel(Protocol):
    """A model, in this process or behind a controller."""

    name: str

    def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[Delta]:
        """Yield the answer to the last message; closing the generator cancels it.

        Raises:
            ServeError: the request is refused, or the answer breaks off.
        """
        ...


class LocalModel:
    """A model in this process: decodes the images of a conversation and calls the engine."""

    def __init__(self, engine: Engine, reader: MediaReader, config: CliConfig) -> None:
        self.name = engine.card.id
        self._engine = engine
        self._reader = reader
        self._sampling = SamplingParams(
            temperature=config.temperature,
            top_p=config.top_p,
            seed=config.seed,
            max_new_tokens=config.max_new_tokens,
        )

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[Delta]:
        """See `ChatModel.stream`."""
        async with self._reader.reservation() as reservation:
            request = GenerateRequest(
                request_id=logs.new_request_id(),
                prompt=await self._reader.conversation(messages, reservation),
                sampling=self._sampling,
            )
            async with aclosing(self._engine.stream(request)) as deltas:
                async for delta in deltas:
                    yield delta


class RemoteModel:
    """A model behind a controller: gets the whole conversation, images included, every time."""

    def __init__(self, client: Controllers, model: str, config: CliConfig, notes: Notes) -> None:
        self.name = model
        self._notes = notes
        self._client = client
        self._body: dict[str, Any] = {
            "model": model,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "seed": config.seed,
            "max_tokens": config.max_new_tokens,
        }

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[Delta]:
        """See `ChatModel.stream`."""
        content = [message.model_dump(exclude_none=True) for message in messages]
        stream = self._client.stream({**self._body, "messages": content}, on_place=self._show)
        try:
            async with aclosing(stream) as chunks:
                async for chunk in chunks:
                    self._show(None)
                    yield _delta(chunk)
        finally:
            self._show(None)

    def _show(self, place: LinePlace | None) -> None:
        self._notes.pass_by(f"waiting in line: {place.for_user}" if place else "")


def _delta(chunk: ChatCompletionChunk) -> Delta:
    if not chunk.choices:  # the last chunk has the usage alone
        return Delta(usage=_usage(chunk.usage) if chunk.usage else None)
    choice = chunk.choices[0]
    reason: FinishReason | None = None
    if choice.finish_reason is not None:
        reason = "length" if choice.finish_reason == "length" else "stop"
    return Delta(choice.delta.content or "", reason)


def _usage(wire: CompletionUsage) -> Usage:
    details = wire.prompt_tokens_details
    return Usage(
        wire.prompt_tokens,
        wire.completion_tokens,
        image_tokens=(details and details.image_tokens) or 0,
        cached_tokens=(details and details.cached_tokens) or 0,
    )


@asynccontextmanager
async def open_model(
    config: CliConfig, engine: Engine | None, reader: MediaReader, notes: Notes
) -> AsyncIterator[ChatModel]:
    """Yield the model of `engine`, or without one a model of the controller in the settings.

    Raises:
        ServeError: the controller does not answer or serve the wanted model, or the file of
            authorities cannot be used.
    """
    if engine is not None:
        yield LocalModel(engine, reader, config)
        return
    connector = aiohttp.TCPConnector(ssl=trust(config.ca_file))
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        client = Controllers(
            ChatClient(one, session, credential_for(one, config.api_key_file, config.state_dir))
            for one in addresses_of(config.controller)
        )
        model = await _choose_model(client, config.model_name, notes)
        yield RemoteModel(client, model, config, notes)


async def _choose_model(client: Controllers, wanted: str | None, notes: Notes) -> str:
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
