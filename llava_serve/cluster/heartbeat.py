"""Heartbeats of a worker: registration, heartbeat, return after a restart, deregistration."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import anyio
from pydantic import ValidationError
from pydantic_core import from_json

from llava_serve.background import background
from llava_serve.cluster_token import bearer
from llava_serve.errors import (
    ControllerUnreachable,
    ControllerUntrusted,
    RegistrationRefused,
    RemoteError,
    TlsExpected,
    Unavailable,
)
from llava_serve.http.client_error import controller_error
from llava_serve.protocol.cluster import (
    Deregistration,
    Heartbeat,
    HeartbeatAnswer,
    Registration,
    WorkerStatus,
)
from llava_serve.protocol.vitals import Vitals
from llava_serve.retry import RateLimitedWarning, backoff_s

logger = logging.getLogger(__name__)

_FIRST_RETRY_S = 0.5
_DEREGISTER_S = 2.0
# The controller calls the worker back before it answers: longer than its limit for that.
_CALL_S = 10.0

Sleep = Callable[[float], Awaitable[None]]


@dataclass
class RegistrationClient:
    """The calls of one worker to one controller.

    Each raises `ControllerUnreachable` where nobody fit to answer answers, and
    `RegistrationRefused` where the controller does not want this worker.
    """

    session: aiohttp.ClientSession
    controller: str  # its address
    worker: str  # the address at which the controller reaches this worker
    token: str = field(repr=False)
    status: Callable[[], WorkerStatus]  # what this worker says of itself, asked at each call
    vitals: Callable[[], Vitals | None] = lambda: None  # told to operators; asked as well

    def __post_init__(self) -> None:
        self.controller = self.controller.rstrip("/")

    async def register(self) -> None:
        """Join the cluster; the controller calls back before it answers."""
        body = Registration(
            worker_name=self.worker, worker_status=self.status(), vitals=self.vitals()
        )
        await self._post("/register_worker", body.model_dump(mode="json"))

    async def heartbeat(self) -> bool:
        """Report the queue; False: the controller does not know this worker."""
        queue_length, vitals = self.status().queue_length, self.vitals()
        body = Heartbeat(worker_name=self.worker, queue_length=queue_length, vitals=vitals)
        answer = await self._post("/receive_heart_beat", body.model_dump())
        try:
            return HeartbeatAnswer.model_validate(answer).exist
        except ValidationError as exc:
            raise ControllerUnreachable(
                self.controller, f"something else answers there: {str(answer)[:200]}"
            ) from exc

    async def deregister(self) -> None:
        """Leave the cluster."""
        await self._post("/deregister_worker", Deregistration(worker_name=self.worker).model_dump())

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        limit = aiohttp.ClientTimeout(total=_CALL_S)
        url = self.controller + path
        try:
            async with self.session.post(
                url, json=body, headers=bearer(self.token), timeout=limit
            ) as answer:
                content = await answer.json(content_type=None, loads=from_json)
        except TimeoutError as exc:
            raise ControllerUnreachable(self.controller, f"silent for {_CALL_S:g} s") from exc
        except aiohttp.ClientError as exc:
            raise controller_error(self.controller, exc) from exc
        except ValueError as exc:
            raise ControllerUnreachable(self.controller, f"its answer is no JSON: {exc}") from exc
        if answer.ok:
            return content
        error = RemoteError.from_body(content, answer.status)
        if error.code == TlsExpected.code:
            raise ControllerUntrusted(self.controller, error.with_remedy)
        if answer.status < 500:
            raise RegistrationRefused(error.message)
        raise ControllerUnreachable(self.controller, f"{answer.status} {error.message}")


class Membership:
    """One worker's membership in the cluster, kept up by the task `keeping`.

    Heartbeats come from the serving loop on purpose: a worker whose loop is stuck goes silent, is
    dropped, and gets no more requests.
    """

    def __init__(self, client: RegistrationClient) -> None:
        self._client = client
        self._is_registered = False
        self.keeping: asyncio.Task[None]

    async def leave(self) -> None:
        """Deregister; call it early to get no new requests while old ones end."""
        if self.keeping.done():
            return
        self.keeping.cancel()
        await asyncio.wait([self.keeping])
        if not self._is_registered:  # another worker may be registered with the address
            return
        with suppress(Unavailable, RegistrationRefused), anyio.move_on_after(_DEREGISTER_S):
            await self._client.deregister()

    async def keep(self, interval_s: float, sleep: Sleep, clock: Callable[[], float]) -> None:
        """Register and send heartbeats for ever, whatever the controller does meanwhile."""
        warning, failures = RateLimitedWarning(logger, clock), 0
        while True:
            try:
                if not (self._is_registered and await self._client.heartbeat()):
                    await self._client.register()
                    logger.info("registered with the controller at %s", self._client.controller)
                self._is_registered, failures, wait_s = True, 0, interval_s
                warning.reset()
            except (ControllerUnreachable, RegistrationRefused) as exc:
                self._is_registered = False
                wait_s = backoff_s(failures, _FIRST_RETRY_S, interval_s)
                failures += 1
                warning.warn(
                    type(exc),
                    "not registered with %s, still trying: %s",
                    self._client.controller,
                    exc.with_remedy,
                )
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
    async with background(member.keep(interval_s, sleep, clock), "heartbeat") as member.keeping:
        try:
            yield member
        finally:
            await member.leave()
