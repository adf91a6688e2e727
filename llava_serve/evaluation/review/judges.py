"""Judges that reviews are asked of: chat completions of OpenAI, or messages of Anthropic."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from pydantic import BaseModel, ValidationError

from llava_serve import logs
from llava_serve.asked_server import open_session
from llava_serve.client import ChatClient
from llava_serve.cluster_token import bearer
from llava_serve.errors import RemoteError
from llava_serve.evaluation.review.config import ReviewConfig
from llava_serve.http.client_error import controller_error, remote_error
from llava_serve.media.data_uri import data_uri
from llava_serve.protocol.error_shape import MESSAGES_PATH
from llava_serve.secret_file import read_secret

# Source: docs.anthropic.com, "Versions"; the only one since 2023.
_ANTHROPIC_VERSION = "2023-06-01"
_WHOLE = aiohttp.ClientTimeout(total=600, sock_connect=5)


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image file's bytes and their type, such as `image/png`."""

    data: bytes
    mime: str


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    system: str
    prompt: str
    image: ShownImage | None = None


@dataclass(frozen=True, slots=True)
class JudgeText:
    """What a judge said; `is_cut` where it came to the limit of tokens."""

    text: str
    is_cut: bool = False


class ReviewJudge(Protocol):
    async def review(self, request: ReviewRequest) -> JudgeText:
        """Ask once.

        Raises:
            ServeError: the judge is not there, refuses, or fails.
        """
        ...


class ChatJudge:
    """Judge behind OpenAI's chat completions; `fields` are those of every request."""

    def __init__(self, client: ChatClient, fields: Mapping[str, Any]) -> None:
        self._client, self._fields = client, fields

    async def review(self, request: ReviewRequest) -> JudgeText:
        """Ask once. Raises as `ReviewJudge` says."""
        content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
        if (image := request.image) is not None:
            content.insert(0, {"type": "image_url", "image_url": {"url": data_uri(image.data)}})
        messages = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.prompt if image is None else content},
        ]
        text, finish_reason = "", None
        async for chunk in self._client.stream({**self._fields, "messages": messages}):
            for choice in chunk.choices:
                text += choice.delta.content or choice.delta.refusal or ""
                finish_reason = choice.finish_reason or finish_reason
        return JudgeText(text, is_cut=finish_reason == "length")


class _Block(BaseModel):
    type: str
    text: str = ""


class _ErrorType(BaseModel):
    type: str


class _JudgeError(BaseModel):
    error: _ErrorType


class _JudgeMessage(BaseModel):
    content: list[_Block]
    stop_reason: str | None = None


class MessagesJudge:
    """Judge behind Anthropic's messages; `fields` are those of every request."""

    def __init__(
        self, address: str, session: aiohttp.ClientSession, fields: Mapping[str, Any]
    ) -> None:
        self._address, self._session, self._fields = address, session, fields

    async def review(self, request: ReviewRequest) -> JudgeText:
        """Ask once. Raises as `ReviewJudge` says."""
        content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
        if (image := request.image) is not None:
            data = base64.b64encode(image.data).decode()
            source = {"type": "base64", "media_type": image.mime, "data": data}
            content.insert(0, {"type": "image", "source": source})
        messages = [{"role": "user", "content": content}]
        body = {**self._fields, "system": request.system, "messages": messages}
        headers = {"X-Request-ID": logs.new_request_id()}
        url = f"{self._address}{MESSAGES_PATH}"
        try:
            async with self._session.post(
                url, json=body, headers=headers, timeout=_WHOLE, allow_redirects=False
            ) as answer:
                received = await answer.read()
                if answer.status != 200:
                    raise _named_error(received, answer)
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise controller_error(self._address, exc) from exc
        return self._read(received)

    def _read(self, received: bytes) -> JudgeText:
        try:
            message = _JudgeMessage.model_validate_json(received)
        except ValidationError as exc:
            raise RemoteError(
                f"{self._address} does not answer as Anthropic's messages do: {exc}"[:500],
                "unknown",
                502,
                "Correct --judge or --judge-protocol.",
            ) from exc
        text = "".join(block.text for block in message.content if block.type == "text")
        return JudgeText(text, is_cut=message.stop_reason == "max_tokens")


def _named_error(received: bytes, answer: aiohttp.ClientResponse) -> RemoteError:
    """Return an error under its code, which llava_serve tells, or else its type."""
    error = remote_error(received, answer.status, answer.headers)
    with suppress(ValidationError):
        if error.code == "unknown":
            error.code = _JudgeError.model_validate_json(received).error.type
    return error


@asynccontextmanager
async def open_judge(config: ReviewConfig) -> AsyncIterator[ReviewJudge]:
    """Yield the judge of the settings.

    Raises:
        CommandError: the file of its key, or of the authorities to trust, cannot be used.
    """
    address = config.judge.rstrip("/").removesuffix("/v1")
    async with open_session(config, _headers(config)) as session:
        fields = request_fields(config)
        if config.judge_protocol == "anthropic":
            yield MessagesJudge(address, session, fields)
        else:
            yield ChatJudge(ChatClient(address, session), fields)


def request_fields(config: ReviewConfig) -> dict[str, Any]:
    """Return the fields of every request, without those that the settings leave out."""
    own = {
        "model": config.judge_model,
        "temperature": config.temperature,
        "max_tokens": config.max_tokens,
    }
    return {name: value for name, value in (own | config.fields).items() if value is not None}


def _headers(config: ReviewConfig) -> dict[str, str]:
    is_anthropic = config.judge_protocol == "anthropic"
    headers = {"anthropic-version": _ANTHROPIC_VERSION} if is_anthropic else {}
    if config.judge_key_file is None:
        return headers
    remedy = "Name a file that holds nothing but the key with --judge-key-file."
    key = read_secret(config.judge_key_file, "the judge's API key", remedy)
    return headers | ({"x-api-key": key} if is_anthropic else bearer(key))
