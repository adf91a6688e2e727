"""Upstream calls from the controller to a worker: their connections, time limits, named errors."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import anyio
from pydantic import ValidationError

from llava_serve.cluster_token import bearer
from llava_serve.errors import (
    ASK_ANOTHER,
    NOT_ANSWERED,
    TlsExpected,
    WorkerLost,
    WorkerUnreachable,
)
from llava_serve.http.answer_body import AnswerFailed
from llava_serve.http.client_error import reason_of, remote_error
from llava_serve.http.upstream_connection import Answer
from llava_serve.http.upstream_pool import KEEP_ALIVE_S, ConnectionRefused, UpstreamPool
from llava_serve.protocol.cluster import WorkerStatus

MAX_WHOLE_BYTES = 200_000_000  # of an answer that is not streamed
_MAX_STATUS_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLimits:
    """How long a worker may be silent, each in seconds."""

    connect_s: float = 3.0
    first_byte_s: float = 120.0
    answer_s: float = 600.0  # the first byte of an answer that is not streamed: all of it
    idle_s: float = 60.0  # within an answer
    status_s: float = 5.0


class WorkerRefused(WorkerUnreachable):
    """The connection was not accepted: the worker never saw the request, another may have it."""

    headers = ASK_ANOTHER


class WorkerSilent(WorkerUnreachable):
    """The request was accepted, and its time was over before the first byte of an answer."""


class UpstreamResponse:
    """A worker's answer whose first bytes have arrived. Usable until `close`."""

    def __init__(self, response: Answer, address: str, first: bytes, idle_s: float) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._content = response.content
        self.address = address
        self._first: bytes | None = first
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._waits_since: float | None = None  # None: for the client, if anybody
        self._watch: asyncio.TimerHandle | None = None

    async def next_bytes(self) -> bytes:
        """Return the next bytes of the body as they arrive; none at its end.

        Raises:
            WorkerLost: the worker dies, or is silent for too long.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._watch is None and not self._content.is_eof():
            self._watch = self._loop.call_later(self._idle_s, self._look)
        self._waits_since = self._loop.time()
        try:
            return await self._content.readany()
        except AnswerFailed as exc:
            raise WorkerLost(self.address, str(exc)) from exc
        except TimeoutError as exc:
            raise WorkerLost(self.address, f"silent for {self._idle_s:g} s") from exc
        finally:
            self._waits_since = None

    def close(self) -> None:
        """End the connection, unless the answer was read to its end."""
        if self._watch is not None:
            self._watch.cancel()
        self._response.close()

    def _look(self) -> None:
        """Look for silence; a timer for each record would take as long as all else for it."""
        now = self._loop.time()
        left_s = self._idle_s - (now - (self._waits_since or now))
        if left_s <= 0:
            self._content.set_exception(TimeoutError())
        else:
            self._watch = self._loop.call_later(left_s, self._look)

    async def rest(self) -> bytes:
        """Return all of the body that has not been read.

        Raises:
            WorkerLost: as `next_bytes`, or it sends more than any answer has.
        """
        read = bytearray()
        while data := await self.next_bytes():
            read += data
            if len(read) > MAX_WHOLE_BYTES:
                reason = f"its answer is larger than {MAX_WHOLE_BYTES:,} bytes"
                raise WorkerLost(self.address, reason)
        return bytes(read)


class NotAnswered(Exception):
    """A worker's error for a request of which it answered nothing: another one may be asked.

    `content` is the answer's body, or within a stream its last record; `value` is that of the
    header `NOT_ANSWERED`.
    """

    def __init__(self, answer: UpstreamResponse, content: bytes, value: str) -> None:
        super().__init__(f"it answered nothing (HTTP {answer.status}, {value})")
        self.answer = answer
        self.content = content
        self.headers = {NOT_ANSWERED: value}


class Upstream:
    """The workers, as seen from here. Usable inside `opened`."""

    def __init__(
        self,
        limits: UpstreamLimits,
        trust: ssl.SSLContext | None = None,
        token: str | None = None,
    ) -> None:
        self.limits = limits
        self._trust = trust
        self._token = token
        self._session: aiohttp.ClientSession
        self._pool = UpstreamPool(trust, limits.connect_s)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEP_ALIVE_S, ssl=self._trust or True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, connect=self.limits.connect_s),
                trust_env=False,  # cluster traffic goes through no proxy
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as self._session,
            self._pool.opened(),
        ):
            yield

    def shown_to(self, *, is_legacy: bool) -> dict[str, str]:
        """Return the headers that open a worker of ours; LLaVA's own are not told the token."""
        return {} if is_legacy or self._token is None else bearer(self._token)

    async def status(self, address: str, *, is_legacy: bool = False) -> WorkerStatus:
        """Ask a worker who it is.

        Raises:
            WorkerUnreachable: nobody answers there, or not as a worker does.
        """
        url = f"{address}/worker_get_status"
        try:
            with anyio.fail_after(self.limits.status_s):
                async with self._session.post(
                    url,
                    json={},
                    headers=self.shown_to(is_legacy=is_legacy),
                    allow_redirects=False,
                ) as answer:
                    content = await _read_status(answer)
                    return WorkerStatus.model_validate_json(content)
        except ValidationError as exc:
            error = remote_error(content, answer.status)
            reason = f"its /worker_get_status is no worker's (HTTP {answer.status})"
            reason = error.with_remedy if error.code == TlsExpected.code else reason
            raise WorkerUnreachable(address, reason) from exc
        except aiohttp.ClientError as exc:
            raise WorkerUnreachable(address, reason_of(exc)) from exc
        except UnicodeError as exc:
            raise WorkerUnreachable(address, "its host is no name") from exc
        except TimeoutError as exc:
            reason = f"no status within {self.limits.status_s:g} s"
            raise WorkerUnreachable(address, reason) from exc

    @asynccontextmanager
    async def post(
        self, address: str, path: str, body: bytes, headers: Mapping[str, str], within_s: float
    ) -> AsyncIterator[UpstreamResponse]:
        """Send a request and wait for the first bytes of its answer, so long at most.

        However the block ends, the worker sees its connection closed unless the answer was read
        to the end: that is what stops its work.

        Raises:
            WorkerRefused: the request was not accepted, so another worker can be asked.
            WorkerSilent: it was accepted, and its time is over.
            WorkerUnreachable: it was accepted, and no answer will come.
        """
        answer: Answer | UpstreamResponse | None = None
        try:
            try:
                async with asyncio.timeout(within_s):
                    answer = response = await self._pool.post(address, path, body, headers)
                    first = await response.content.readany()
            except ConnectionRefused as exc:
                raise WorkerRefused(address, str(exc)) from exc
            except TimeoutError as exc:
                raise WorkerSilent(
                    address, f"no first byte within {round(within_s, 1):g} s"
                ) from exc
            except AnswerFailed as exc:
                raise WorkerUnreachable(address, str(exc)) from exc
            del body  # or it would be held here until the answer ends
            answer = UpstreamResponse(response, address, first, self.limits.idle_s)
            yield answer
        finally:
            if answer is not None:
                answer.close()


async def _read_status(answer: aiohttp.ClientResponse) -> bytes:
    """Return a body that is a worker's status; the beginning of one that is too large for it."""
    read = bytearray()
    async for data in answer.content.iter_any():
        read += data
        if len(read) > _MAX_STATUS_BYTES:
            break
    return bytes(read[:_MAX_STATUS_BYTES])
