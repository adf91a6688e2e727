"""Answers from a running controller, over the native wire."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from llava_serve.client import ChatClient
from llava_serve.protocol.openai import ChatMessage
from llava_serve.request import Delta, FinishReason, Usage
from llava_serve.terminal.config import CliConfig


class ControllerAnswerer:
    """Sends the whole conversation, pictures and all, with every question."""

    def __init__(self, client: ChatClient, model: str, config: CliConfig) -> None:
        self.model = model
        self._client = client
        self._body: dict[str, Any] = {
            "model": model,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "seed": config.seed,
            "max_tokens": config.max_new_tokens,
        }

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[Delta]:
        """See `Answerer.stream`."""
        wire = [message.model_dump(exclude_none=True) for message in messages]
        async with aclosing(self._client.stream({**self._body, "messages": wire})) as chunks:
            async for chunk in chunks:
                yield _delta(chunk)


def _delta(chunk: ChatCompletionChunk) -> Delta:
    if not chunk.choices:  # the last chunk has the usage alone
        return Delta(usage=_usage(chunk.usage) if chunk.usage else None)
    choice = chunk.choices[0]
    reason: FinishReason | None = None
    if choice.finish_reason is not None:
        reason = "length" if choice.finish_reason == "length" else "stop"
    return Delta(choice.delta.content or "", reason)


def _usage(told: CompletionUsage) -> Usage:
    details = told.prompt_tokens_details
    return Usage(
        told.prompt_tokens,
        told.completion_tokens,
        image_tokens=(details and details.image_tokens) or 0,
        cached_tokens=(details and details.cached_tokens) or 0,
    )
