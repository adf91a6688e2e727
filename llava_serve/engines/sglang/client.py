"""HTTP to one SGLang server, or to a router of several: JSON calls and event streams."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import anyio

from llava_serve.engines.sglang.failure import error_of
from llava_serve.errors import SglangLost, SglangUnreachable
from llava_serve.protocol import sse
from llava_serve.reason import reason_of

_CONNECT_S = 3.0
_ABORT_S = 2.0
# Shorter than the 5 s after which the server closes an idle connection: none is used while it dies.
_KEEP_ALIVE_S = 2.0

Event = dict[str, Any]


class SglangSilent(SglangUnreachable):
    """The server took the connection and did not answer in time: busy, or stuck."""


class SglangClient:
    """Usable inside `opened`."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._session: aiohttp.ClientSession

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_S)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=False
        ) as self._session:
            yield

    async def get(self, path: str, limit_s: float, at: str | None = None) -> Any:
        """Return the decoded JSON behind `path`; None for an empty body.

        `at` is the address of a server behind the router that `endpoint` is.
        """
        return await self._call("GET", (at or self.endpoint) + path, None, limit_s)

    async def post(
        self, path: str, body: Mapping[str, Any], limit_s: float, at: str | None = None
    ) -> Any:
        """Send JSON and return the decoded answer; None for an empty body. For `at` see `get`."""
        return await self._call("POST", (at or self.endpoint) + path, body, limit_s)

    async def _call(
        self, method: str, url: str, body: Mapping[str, Any] | None, limit_s: float
    ) -> Any:
        """Raises: SglangUnreachable where nobody answers; ServeError, what the server tells."""
        try:
            with anyio.fail_after(limit_s):
                async with self._session.request(method, url, json=body) as answer:
                    content = _decoded(await answer.read())
        except aiohttp.ConnectionTimeoutError as exc:
            raise SglangSilent(self.endpoint, reason_of(exc)) from exc
        except asyncio.TimeoutError as exc:
            raise SglangSilent(self.endpoint, f"{url} is silent for {limit_s:g} s") from exc
        except aiohttp.ClientError as exc:
            raise SglangUnreachable(self.endpoint, reason_of(exc)) from exc
        if not answer.ok:
            raise error_of(content, answer.status)
        return content

    @asynccontextmanager
    async def streamed(self, path: str, body: Mapping[str, Any]) -> AsyncIterator["EventStream"]:
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
                answer = await self._session.post(self.endpoint + path, json=body)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
                raise SglangUnreachable(self.endpoint, reason_of(exc)) from exc
            except aiohttp.ClientError as exc:
                raise SglangLost(self.endpoint, reason_of(exc)) from exc
            events = EventStream(answer, self.endpoint)
            async with answer:
                if not answer.ok:
                    events.is_complete = True
                    raise error_of(_decoded(await answer.read()), answer.status)
                yield events
        finally:
            if events is None or not events.is_complete:
                await self._abort(str(body["rid"]))

    async def _abort(self, rid: str) -> None:
        # A closed connection stops the work too, but only when the server looks for it.
        with anyio.CancelScope(shield=True), suppress(Exception):
            await self.post("/abort_request", {"rid": rid}, _ABORT_S)


class EventStream:
    """The events of one answer; `is_complete` once nothing more is being made."""

    def __init__(self, answer: aiohttp.ClientResponse, endpoint: str) -> None:
        self.is_complete = False
        self._answer = answer
        self._endpoint = endpoint

    async def read(self) -> AsyncGenerator[Event]:
        """Yield events up to the server's own end mark.

        Raises:
            SglangLost: the server dies before that.
            ServeError: an event tells an error; it has status 200 then.
        """
        decoder = sse.EventDecoder()
        try:
            async for chunk in self._answer.content.iter_any():
                for data in decoder.feed(chunk):
                    if data == sse.DONE:
                        self.is_complete = True
                        return
                    event = json.loads(data)
                    if "error" in event:
                        self.is_complete = True
                        raise error_of(event, 500)
                    yield event
        except aiohttp.ClientError as exc:
            raise SglangLost(self._endpoint, reason_of(exc)) from exc
        raise SglangLost(self._endpoint, "the stream ended before the answer did")


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return content.decode(errors="replace")
