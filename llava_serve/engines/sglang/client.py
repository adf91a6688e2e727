"""HTTP to one SGLang server, or to a router of several: JSON calls and event streams."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import anyio

from llava_serve.engines.sglang.failure import error_of
from llava_serve.errors import ServeError, SglangFailed, SglangLost, SglangUnreachable
from llava_serve.http.client_error import reason_of
from llava_serve.protocol import sse

_CONNECT_S = 3.0
_ABORT_S = 2.0
# Shorter than the 5 s after which the server closes an idle connection: none is used while it dies.
_KEEP_ALIVE_S = 2.0
_SHOWN = 100  # characters of what cannot be read

Event = dict[str, Any]
Body = dict[str, Any]
Result = TypeVar("Result")


class SglangSilent(SglangUnreachable):
    """The server took the connection and did not answer in time: busy, or stuck."""


class SglangClient:
    """Usable inside `opened`."""

    def __init__(self, endpoint: str, trust: ssl.SSLContext | None = None) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._trust = trust
        self._session: aiohttp.ClientSession
        self._waiting: set[anyio.CancelScope] = set()
        self._aborting: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=_KEEP_ALIVE_S, ssl=self._trust or True
        )
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_S)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=False
        ) as self._session:
            yield

    async def call(
        self, path: str, limit_s: float, at: str | None = None, body: Body | None = None
    ) -> Any:
        """Post `body` as JSON, or get where there is none, and return the decoded answer.

        It is None for an empty answer. `at` is the address of a server behind the router that
        `endpoint` is.

        Raises:
            SglangUnreachable: nobody answers.
            ServeError: what the server tells.
        """
        method, url = "GET" if body is None else "POST", (at or self.endpoint) + path
        try:
            with anyio.fail_after(limit_s):
                async with self._session.request(method, url, json=body) as answer:
                    content = _decoded(await answer.read())
        except aiohttp.ConnectionTimeoutError as exc:
            raise SglangSilent(self.endpoint, reason_of(exc)) from exc
        except TimeoutError as exc:
            raise SglangSilent(
                self.endpoint, f"{urlsplit(url).path} is silent for {limit_s:g} s"
            ) from exc
        except aiohttp.ClientError as exc:
            raise SglangUnreachable(self.endpoint, reason_of(exc)) from exc
        if not answer.ok:
            raise error_of(content, answer.status)
        return content

    @asynccontextmanager
    async def streamed(self, path: str, body: Body) -> AsyncIterator["EventStream"]:
        """Send a request and read its answer event by event.

        However the block ends before the answer does, the server is told to stop its work.

        Raises:
            SglangUnreachable: the request was not accepted.
            SglangLost: it was accepted, and no answer came.
            ServeError: the server refused it, or failed.
        """
        events = None
        try:
            try:
                answer = await self.unless_given_up(
                    self._session.post(self.endpoint + path, json=body)
                )
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
                raise SglangUnreachable(self.endpoint, reason_of(exc)) from exc
            except aiohttp.ClientError as exc:
                raise SglangLost(self.endpoint, reason_of(exc)) from exc
            events = EventStream(answer, self)
            async with answer:
                if not answer.ok:
                    events.is_complete = True
                    raise error_of(_decoded(await answer.read()), answer.status)
                yield events
        finally:
            if events is None or not events.is_complete:
                await self._abort(str(body["rid"]))

    def give_up(self) -> None:
        """End every stream: the server is silent, and has been for too long."""
        for scope in self._waiting:
            scope.cancel()

    async def unless_given_up(self, work: Awaitable[Result]) -> Result:
        """Await `work`.

        Raises:
            SglangLost: the server was given up meanwhile.
        """
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                return await work
            finally:
                self._waiting.discard(scope)
        raise SglangLost(self.endpoint, "it has been silent for too long")

    async def _abort(self, rid: str) -> None:
        # A task of its own is finished even if the one that waits for it is cancelled once more.
        aborting = asyncio.create_task(self._tell_abort(rid), name="abort-sglang")
        self._aborting.add(aborting)
        aborting.add_done_callback(self._aborting.discard)
        with anyio.CancelScope(shield=True):
            await asyncio.shield(aborting)

    async def _tell_abort(self, rid: str) -> None:
        # A closed connection stops the work too, but only when the server looks for it.
        with suppress(ServeError):
            await self.call("/abort_request", _ABORT_S, body={"rid": rid})


class EventStream:
    """The events of one answer; `is_complete` once nothing more is being made."""

    def __init__(self, answer: aiohttp.ClientResponse, client: SglangClient) -> None:
        self.is_complete = False
        self._answer = answer
        self._client = client

    async def read(self) -> AsyncGenerator[Event]:
        """Yield events up to the server's own end mark.

        Raises:
            SglangLost: the server dies before that, or is given up.
            SglangFailed: an event is none.
            ServeError: an event tells an error; it has status 200 then.
        """
        decoder = sse.EventDecoder()
        try:
            while chunk := await self._client.unless_given_up(self._answer.content.readany()):
                for data in decoder.feed(chunk):
                    if data == sse.DONE:
                        self.is_complete = True
                        return
                    event = _event(data)
                    if "error" in event:
                        self.is_complete = True
                        raise error_of(event, 500)
                    yield event
        except aiohttp.ClientError as exc:
            raise SglangLost(self._client.endpoint, reason_of(exc)) from exc
        except UnicodeDecodeError as exc:
            raise SglangFailed("its stream is no UTF-8") from exc
        raise SglangLost(self._client.endpoint, "the stream ended before the answer did")


def _event(data: str) -> Event:
    try:
        event = json.loads(data)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise SglangFailed(f"its stream holds what is no event: {data[:_SHOWN]!r}")
    return event


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return content.decode(errors="replace")
