"""Answers from an engine in this process: the same one a worker holds."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from llava_serve import logs
from llava_serve.engines.base import Engine
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.openai import ChatMessage
from llava_serve.request import Delta, GenerateRequest, SamplingParams
from llava_serve.terminal.config import CliConfig


class LocalAnswerer:
    """Decodes the pictures of a conversation and asks the engine."""

    def __init__(self, engine: Engine, reader: MediaReader, config: CliConfig) -> None:
        self.model = engine.card.id
        self._engine = engine
        self._reader = reader
        self._sampling = SamplingParams(
            temperature=config.temperature,
            top_p=config.top_p,
            seed=config.seed,
            max_new_tokens=config.max_new_tokens,
        )

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[Delta]:
        """See `Answerer.stream`."""
        async with self._reader.reservation() as reservation:
            request = GenerateRequest(
                request_id=logs.new_request_id(),
                prompt=await self._reader.conversation(messages, reservation),
                sampling=self._sampling,
            )
            async with aclosing(self._engine.stream(request)) as deltas:
                async for delta in deltas:
                    yield delta
