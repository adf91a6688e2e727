"""Asking of a recording's requests: greedy, one after the other, with log-probabilities."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_token_logprob import ChatCompletionTokenLogprob
from pydantic_core import from_json

from llava_serve.client import ChatClient
from llava_serve.cluster_token import bearer
from llava_serve.errors import CommandError
from llava_serve.http.client_error import controller_error, remote_error
from llava_serve.http.tls import trust
from llava_serve.replaying.config import ServerConfig
from llava_serve.replaying.recording import RecordedAnswer, RecordedToken
from llava_serve.secret_file import read_secret

_LIST_S = aiohttp.ClientTimeout(total=10)


class AskedServer:
    """One server of OpenAI's chat completions."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._address = address.rstrip("/").removesuffix("/v1")
        self._session = session
        self._client = ChatClient(self._address, session)

    async def model(self, wanted: str | None) -> str:
        """Return the model to ask: the wanted one, or else the only one.

        Raises:
            CommandError: it is not served, or there are several to choose from.
            ServeError: the server cannot be asked.
        """
        served = await self._models()
        if wanted in served:
            return str(wanted)
        names = ", ".join(served) or "none"
        if wanted is not None:
            what = f"{wanted!r} is not served at {self._address}; served: {names}"
            raise CommandError(what, "Name one of them with --model.")
        if len(served) != 1:
            what = f"which model is meant is not clear; {self._address} serves: {names}"
            raise CommandError(what, "Name one of them with --model.")
        return served[0]

    async def answer(self, model: str, name: str, body: dict[str, Any]) -> RecordedAnswer:
        """Ask one request of a recording.

        Raises:
            CommandError: the server tells no log-probabilities.
            ServeError: it does not answer.
        """
        text, finish_reason, usage = "", None, None
        tokens: list[ChatCompletionTokenLogprob] = []
        async for chunk in self._client.stream({**body, "model": model}):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                tokens += _logprobs(chunk)
                finish_reason = choice.finish_reason or finish_reason
        if text and not tokens:
            raise CommandError(
                f"{self._address} tells no log-probabilities (request {name!r})",
                "Ask a server that honours logprobs, or start this one with what makes it do so.",
            )
        return RecordedAnswer(
            text=text,
            finish_reason=finish_reason,
            tokens=[_recorded(one) for one in tokens],
            prompt_tokens=usage.prompt_tokens if usage else None,
        )

    async def _models(self) -> list[str]:
        try:
            async with self._session.get(f"{self._address}/v1/models", timeout=_LIST_S) as answer:
                content = await answer.read()
                if answer.status != 200:
                    raise remote_error(content, answer.status)
            return [str(one["id"]) for one in from_json(content)["data"]]
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise controller_error(self._address, exc) from exc
        except (ValueError, LookupError, TypeError) as exc:
            what = f"{self._address} lists no models as OpenAI's servers do"
            raise CommandError(what, "Correct --controller.") from exc


@asynccontextmanager
async def open_server(config: ServerConfig) -> AsyncIterator[AskedServer]:
    """Yield the server of the settings.

    Raises:
        CommandError: the file of its key, or of the authorities to trust, cannot be used.
    """
    key = config.api_key_file
    headers = {} if key is None else bearer(read_secret(key))
    connector = aiohttp.TCPConnector(ssl=trust(config.ca_file))
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, trust_env=False
    ) as session:
        yield AskedServer(config.controller, session)


def greedy(body: dict[str, Any], max_tokens: int, top_logprobs: int) -> dict[str, Any]:
    """Return a body that asks for a greedy answer of bounded length with log-probabilities."""
    bounds = {"max_tokens", "max_completion_tokens"} & body.keys()
    asked = body if bounds else {**body, "max_tokens": max_tokens}
    return {**asked, "temperature": 0, "logprobs": True, "top_logprobs": top_logprobs}


def _logprobs(chunk: ChatCompletionChunk) -> list[ChatCompletionTokenLogprob]:
    told = [choice.logprobs.content for choice in chunk.choices if choice.logprobs]
    return [token for content in told for token in content or ()]


def _recorded(token: ChatCompletionTokenLogprob) -> RecordedToken:
    """Return a token under the text of its bytes, where it has them: half characters differ."""
    top = {_name(one.token, one.bytes): one.logprob for one in token.top_logprobs}
    return RecordedToken(token=_name(token.token, token.bytes), logprob=token.logprob, top=top)


def _name(text: str, data: list[int] | None) -> str:
    return text if data is None else bytes(data).decode(errors="backslashreplace")
