"""A worker's side of the cluster: joining, beating, coming back after a restart, leaving."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import aiohttp
import anyio
from pydantic import ValidationError

from llava_serve import logs
from llava_serve.cluster.token import bearer
from llava_serve.errors import (
    ControllerUnreachable,
    RegistrationRefused,
    RemoteError,
    ServeError,
    Unavailable,
)
from llava_serve.protocol.cluster import (
    Deregistration,
    Heartbeat,
    HeartbeatAnswer,
    Registration,
    WorkerStatus,
)
from llava_serve.reason import reason_of

logger = logging.getLogger(__name__)

_FIRST_RETRY_S = 0.5
_COMPLAINT_EVERY_S = 60.0
_LEAVE_S = 2.0
# The controller calls the worker back before it answers: longer than its limit for that.
_CALL_S = 10.0

Sleep = Callable[[float], Awaitable[None]]


class Link(Protocol):
    """The calls of one worker to one controller.

    Each raises `ControllerUnreachable` where nobody fit to answer answers, and
    `RegistrationRefused` where the controller does not want this worker.
    """

    async def register(self) -> None: ...

    async def beat(self) -> bool:
        """Report the queue; False: the controller does not know this worker."""
        ...

    async def deregister(self) -> None: ...


class Membership:
    """One worker's place in the cluster, kept up by a task of its own.

    Beats come from the serving loop on purpose: a worker whose loop is stuck goes silent, is
    dropped, and gets no more requests.
    """

    def __init__(self, link: Link, interval_s: float, sleep: Sleep) -> None:
        self._link = link
        self._interval_s = interval_s
        self._sleep = sleep
        self._is_known = False
        self._complaint: type[ServeError] | None = None
        self._silent_s = 0.0  # since the last complaint
        self._keeping = asyncio.create_task(self._keep(), name="heartbeat")
        self._keeping.add_done_callback(logs.log_a_bug)

    async def leave(self) -> None:
        """Stop beating and say goodbye; call it early to get no new requests while old ones end."""
        if self._keeping.done():
            return
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        if not self._is_known:  # the address may be that of a worker that is
            return
        with suppress(Unavailable, RegistrationRefused), anyio.move_on_after(_LEAVE_S):
            await self._link.deregister()

    async def _keep(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                if not (self._is_known and await self._link.beat()):
                    await self._link.register()
                    logger.info("registered with the controller")
                retry_s, wait_s = _FIRST_RETRY_S, self._interval_s
                self._is_known, self._complaint = True, None
            except (ControllerUnreachable, RegistrationRefused) as exc:
                wait_s = min(retry_s, self._interval_s)
                self._is_known, retry_s = False, 2 * wait_s
                self._complain(exc, wait_s)
            await self._sleep(wait_s)

    def _complain(self, error: ServeError, wait_s: float) -> None:
        """Log `error` at once if it is of a new kind, and then once a minute."""
        if type(error) is not self._complaint or self._silent_s >= _COMPLAINT_EVERY_S:
            self._complaint, self._silent_s = type(error), 0.0
            logger.warning("not in the cluster, still trying: %s", error.with_remedy)
        self._silent_s += wait_s


@asynccontextmanager
async def membership(
    link: Link, interval_s: float = 15.0, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[Membership]:
    """Stay registered while the body runs; the worker and the controller may start in any order."""
    member = Membership(link, interval_s, sleep)
    try:
        yield member
    finally:
        await member.leave()


class HttpLink:
    """A `Link` over HTTP.

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

    async def beat(self) -> bool:
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
