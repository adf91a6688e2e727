"""Client of a controller or a worker: models and streamed answers, for our own programs."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import aiohttp
from openai.types.chat import ChatCompletionChunk
from pydantic_core import from_json
from yarl import URL

from llava_serve import logs
from llava_serve.credential import Credential
from llava_serve.errors import ControllerLost, EventTooLarge, RemoteError, ServeError
from llava_serve.http.caller import USER_HEADER
from llava_serve.http.client_error import controller_error, reason_of, remote_error
from llava_serve.protocol import sse
from llava_serve.protocol.inspection import Inspection
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.model_card import ModelCard, ModelList
from llava_serve.tracing import genai
from llava_serve.tracing.span import Tracer

_ASK = aiohttp.ClientTimeout(total=10)
_INSPECT = aiohttp.ClientTimeout(total=60, sock_connect=5)
_MOST_BYTES = (
    64_000_000  # of an answer; many times what the most tokens with log-probabilities take
)
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=300)


class ChatClient:
    """Speaks the native wire with the controller (or one worker) at `address`.

    `session` should be made with `trust_env=False`: cluster traffic goes around proxies.
    `credential` returns the headers that open the controller.
    """

    def __init__(
        self,
        address: str,
        session: aiohttp.ClientSession,
        credential: Credential = dict,
        tracer: Tracer | None = None,
    ) -> None:
        self.address = address.rstrip("/")
        self._session = session
        self._credential = credential
        self._tracer = tracer or Tracer()

    async def models(self) -> list[ModelCard]:
        """Return what is served at this moment, but for what only LLaVA's own workers serve.

        Raises:
            ControllerUnreachable: nobody answers at the address.
            RemoteError: the answer is an error, or comes from another kind of server.
        """
        try:
            async with self._session.get(
                f"{self.address}/v1/models", headers=self._credential(), timeout=_ASK
            ) as answer:
                if answer.status != 200:
                    raise await _error_of(answer)
                return ModelList.model_validate_json(await answer.read()).cards
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise controller_error(self.address, exc) from exc
        except ValueError as exc:
            raise self._foreign(exc) from exc

    async def administer(self, method: str, path: str, body: Any = None) -> bytes:
        """Return what a controller's route below `/admin` answers; `path` is percent-encoded.

        Raises:
            ControllerUnreachable: nobody answers at the address.
            RemoteError: it was refused, or another kind of server answers.
        """
        url = URL(f"{self.address}/admin{path}", encoded=True)
        try:
            async with self._session.request(
                method,
                url,
                json=body,
                headers=self._credential(),
                timeout=_ASK,
                allow_redirects=False,
            ) as answer:
                if answer.status >= 300:
                    raise await _error_of(answer)
                return await answer.read()
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise controller_error(self.address, exc) from exc

    async def inspect(
        self, body: dict[str, Any], *, with_pixels: bool = False, user: str | None = None
    ) -> Inspection:
        """Return what the model would see of the request that `stream` sends.

        Raises:
            ControllerUnreachable: nobody answers at the address, or not in time.
            RemoteError: the request was refused, or the answer comes from another kind of server.
        """
        headers = {"X-Request-ID": logs.new_request_id(), **self._credential()}
        if user is not None:
            headers[USER_HEADER] = user
        url = f"{self.address}/v1/inspect"
        try:
            async with self._session.post(
                url,
                json=_as_streamed(body),
                params={"pixels": "true"} if with_pixels else {},
                headers=headers,
                timeout=_INSPECT,
            ) as answer:
                if answer.status != 200:
                    raise await _error_of(answer)
                return Inspection.model_validate_json(await answer.read())
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise controller_error(self.address, exc) from exc
        except ValueError as exc:
            raise self._foreign(exc) from exc

    async def stream(
        self,
        body: dict[str, Any],
        request_id: str | None = None,
        on_place: Callable[[LinePlace | None], None] = lambda place: None,
        user: str | None = None,
    ) -> AsyncGenerator[ChatCompletionChunk]:
        """Yield the chunks of one answer; closing the generator stops the work on the worker.

        `request_id` is what every log on the way shows; without one a new one is made. `user` is
        an opaque name of who asks, so that one user waits for no other. `on_place` is called while
        the request waits in line, and with None while its answer is awaited.

        Raises:
            ControllerUnreachable: nobody answers at the address.
            RemoteError: the request was refused, failed in mid-answer, or the answer comes from
                another kind of server.
            ControllerLost: the connection ended before the answer did; what came so far is valid.
        """
        request_id = request_id or logs.new_request_id()
        model = str(body.get("model"))
        with self._tracer.span(genai.name_of(model), "client", {}) as traced:
            traced.set(genai.of_model(model, request_id))
            headers = {"X-Request-ID": request_id, **traced.headers, **self._credential()}
            if user is not None:
                headers[USER_HEADER] = user
            try:
                async with aclosing(self._stream(body, headers, on_place)) as chunks:
                    async for chunk in chunks:
                        if (usage := chunk.usage) is not None:
                            used = genai.of_usage(usage.prompt_tokens, usage.completion_tokens)
                            traced.set(used)
                        yield chunk
            except ServeError as exc:
                traced.fail(exc.code)
                raise

    async def _stream(
        self,
        body: dict[str, Any],
        headers: dict[str, str],
        on_place: Callable[[LinePlace | None], None],
    ) -> AsyncGenerator[ChatCompletionChunk]:
        url = f"{self.address}/v1/chat/completions"
        answering = False
        try:
            async with self._session.post(
                url, json=_as_streamed(body), headers=headers, timeout=_STREAM
            ) as answer:
                if answer.status != 200:
                    raise await _error_of(answer)
                answering = True
                decoder = sse.EventDecoder(lambda comment: on_place(LinePlace.parse(comment)))
                async for data in _events(answer, decoder):
                    if data == sse.DONE:
                        return
                    yield _chunk(data)
        except (TimeoutError, aiohttp.ClientError) as exc:
            if answering:
                raise ControllerLost(self.address, reason_of(exc)) from exc
            raise controller_error(self.address, exc) from exc
        except ValueError as exc:
            raise self._foreign(exc) from exc
        raise ControllerLost(self.address, "the answer ended without its last event")

    def _foreign(self, answer: ValueError) -> RemoteError:
        return RemoteError(
            f"{self.address} is not a controller of llava_serve: {answer}"[:500],
            "unknown",
            502,
            "Correct the controller's address.",
        )


def _as_streamed(body: dict[str, Any]) -> dict[str, Any]:
    options = {"include_usage": True, **body.get("stream_options", {})}
    return body | {"stream": True, "stream_options": options}


async def _events(answer: aiohttp.ClientResponse, decoder: sse.EventDecoder) -> AsyncGenerator[str]:
    received = 0
    async for chunk in answer.content.iter_any():
        received += len(chunk)
        if received > _MOST_BYTES:
            what = f"the answer is larger than {_MOST_BYTES / 1e6:g} MB"
            raise RemoteError(what, "answer_too_large", 502, EventTooLarge.remedy)
        for data in decoder.feed(chunk):
            yield data


def _chunk(data: str) -> ChatCompletionChunk:
    content = from_json(data)
    if isinstance(content, dict) and "error" in content:
        raise RemoteError.from_body(content, 502)
    return ChatCompletionChunk.model_validate(content)


async def _error_of(answer: aiohttp.ClientResponse) -> RemoteError:
    content = await answer.read() or (answer.reason or "").encode()
    return remote_error(content, answer.status, answer.headers)
