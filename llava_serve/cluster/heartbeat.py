"""Heartbeats of a worker: registration, heartbeat, return after a restart, deregistration."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import aiohttp
import anyio
from pydantic import ValidationError

from llava_serve.background import background
from llava_serve.cluster_token import bearer
from llava_serve.errors import (
    ControllerUnreachable,
    RegistrationRefused,
    RemoteError,
    Unavailable,
)
from llava_serve.http.client_error import reason_of
from llava_serve.protocol.cluster import (
    Deregistration,
    Heartbeat,
    HeartbeatAnswer,
    Registration,
    WorkerStatus,
)
from llava_serve.retry import RateLimitedWarning, backoff_s

logger = logging.getLogger(__name__)

_FIRST_RETRY_S = 0.5
_DEREGISTER_S = 2.0
# The controller calls the worker back before it answers: longer than its limit for that.
_CALL_S = 10.0

Sleep = Callable[[float], Awaitable[None]]


class RegistrationClient(Protocol):
    """The calls of one worker to one controller.

    Each raises `ControllerUnreachable` where nobody fit to answer answers, and
    `RegistrationRefused` where the controller does not want this worker.
    """

    async def register(self) -> None: ...

    async def heartbeat(self) -> bool:
        """Report the queue; False: the controller does not know this worker."""
        ...

    async def deregister(self) -> None: ...


class Membership:
    """One worker's membership in the cluster, kept up by a task of its own.

    Heartbeats come from the serving loop on purpose: a worker whose loop is stuck goes silent, is
    dropped, and gets no more requests.
    """

    def __init__(self, client: RegistrationClient) -> None:
        self._client = client
        self._is_registered = False
        self._keeping: asyncio.Task[None]

    @asynccontextmanager
    async def kept(
        self, interval_s: float, sleep: Sleep, clock: Callable[[], float]
    ) -> AsyncIterator[None]:
        """Stay registered while the body runs, then leave."""
        async with background(self._keep(interval_s, sleep, clock), "heartbeat") as self._keeping:
            try:
                yield
            finally:
                await self.leave()

    async def leave(self) -> None:
        """Deregister; call it early to get no new requests while old ones end."""
        if self._keeping.done():
            return
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        if not self._is_registered:  # another worker may be registered with the address
            return
        with suppress(Unavailable, RegistrationRefused), anyio.move_on_after(_DEREGISTER_S):
            await self._client.deregister()

    async def _keep(self, interval_s: float, sleep: Sleep, clock: Callable[[], float]) -> None:
        warning, failures = RateLimitedWarning(logger, clock), 0
        while True:
            try:
                if not (self._is_registered and await self._client.heartbeat()):
                    await self._client.register()
                    logger.info("registered with the controller")
                self._is_registered, failures, wait_s = True, 0, interval_s
                warning.reset()
            except (ControllerUnreachable, RegistrationRefused) as exc:
                self._is_registered = False
                wait_s = backoff_s(failures, _FIRST_RETRY_S, interval_s)
                failures += 1
                warning.warn(type(exc), "not in the cluster, still trying: %s", exc.with_remedy)
            await sleep(wait_s)


@asynccontextmanager
async def membership(
    client: RegistrationClient,
    interval_s: float = 15.0,
    sleep: Sleep = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Membership]:
    """Stay registered while the body runs; the worker and the controller may start in any order."""
    member = Membership(client)
    async with member.kept(interval_s, sleep, clock):
        yield member


class HttpRegistrationClient:
    """A `RegistrationClient` over HTTP.

    Args:
        controller: its address.
        worker: the address at which the controller reaches this worker.
        status: what this worker says of itself, asked at each call.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        controller: str,
        worker: str,
        token: str,
        status: Callable[[], WorkerStatus],
    ) -> None:
        self._session = session
        self._controller = controller.rstrip("/")
        self._worker = worker
        self._headers = bearer(token)
        self._status = status

    async def register(self) -> None:
        body = Registration(worker_name=self._worker, worker_status=self._status())
        await self._post("/register_worker", body.model_dump(mode="json"))

    async def heartbeat(self) -> bool:
        body = Heartbeat(worker_name=self._worker, queue_length=self._status().queue_length)
        answer = await self._post("/receive_heart_beat", body.model_dump())
        try:
            return HeartbeatAnswer.model_validate(answer).exist
        except ValidationError as exc:
            raise ControllerUnreachable(
                self._controller, f"something else answers there: {str(answer)[:200]}"
            ) from exc

    async def deregister(self) -> None:
        await self._post(
            "/deregister_worker", Deregistration(worker_name=self._worker).model_dump()
        )

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        limit = aiohttp.ClientTimeout(total=_CALL_S)
        url = self._controller + path
        try:
            async with self._session.post(
                url, json=body, headers=self._headers, timeout=limit
            ) as answer:
                content = await answer.json(content_type=None)
        except TimeoutError as exc:
            raise ControllerUnreachable(self._controller, f"silent for {_CALL_S:g} s") from exc
        except aiohttp.ClientError as exc:
            raise ControllerUnreachable(self._controller, reason_of(exc)) from exc
        except ValueError as exc:
            raise ControllerUnreachable(self._controller, f"its answer is no JSON: {exc}") from exc
        if answer.ok:
            return content
        error = RemoteError.from_body(content, answer.status)
        if answer.status < 500:
            raise RegistrationRefused(error.message)
        raise ControllerUnreachable(self._controller, f"{answer.status} {error.message}")
