"""Line asking: the lines of a batch on their way to the app and back, many at once."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import ASGIApp

from llava_serve.accounts.keyring import KeyRing
from llava_serve.cluster.batches.asking_again import AskingAgain, body_of
from llava_serve.cluster.batches.batch import BatchCaller
from llava_serve.cluster.batches.batch_input import BatchLine
from llava_serve.cluster.batches.batch_results import BatchResults
from llava_serve.cluster.batches.in_flight import InFlight
from llava_serve.cluster.batches.own_request import OwnAnswer, own_request
from llava_serve.cluster.files.file_store import FileStore
from llava_serve.errors import KeyRefused
from llava_serve.http.caller import Caller

_LOOK_S = 0.25  # for a key that cannot be read at the moment
_MOST_OF_LIMITED = 4  # requests of a key with limits that are on their way at once


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContext:
    """What the batches of one controller share; `models` tells the names that workers serve."""

    app: ASGIApp
    files: FileStore
    keys: KeyRing | None  # None: none is asked for
    models: Callable[[], list[str]]
    in_flight: InFlight
    most_line_bytes: int
    keeps_responses: bool
    clock: Callable[[], float]

    def caller(self, asks: BatchCaller) -> Caller | None:
        """Return for whom a request asks; None where the keys cannot be read at the moment.

        Raises:
            KeyRefused: the key was revoked, or has expired.
        """
        if asks.key_id is None:
            return asks.asking(None)
        if self.keys is None or (key := self.keys.latest(asks.key_id)) is None:
            return None
        if (state := key.state(self.clock())) != "active":
            raise KeyRefused(state)
        return asks.asking(key)


class LineAsking:
    """Asks for one batch until `over` is set, and then lets go of what runs."""

    def __init__(
        self,
        context: BatchContext,
        endpoint: str,
        asks: BatchCaller,
        results: BatchResults,
        over: asyncio.Event,
    ) -> None:
        self._context = context
        self._endpoint = endpoint
        self._asks = asks
        self._results = results
        self._over = over
        self._own = asyncio.Semaphore(self._most_at_once())

    async def ask(self, requests: Iterator[BatchLine]) -> None:
        """Ask all, or as many as are asked before it is over; return once none is on its way."""
        async with asyncio.TaskGroup() as lines:
            while (line := await asyncio.to_thread(next, requests, None)) is not None:
                if not await self._has_room(line):
                    break
                lines.create_task(self._ask_line(line))

    def _most_at_once(self) -> int:
        """Return how many requests may be on their way, with some left for its key's others."""
        key_id, keys = self._asks.key_id, self._context.keys
        key = keys.latest(key_id) if keys is not None and key_id is not None else None
        if key is None or not key.is_limited:
            return self._context.in_flight.most
        return max(min(_MOST_OF_LIMITED, (key.max_parallel or _MOST_OF_LIMITED + 1) - 1), 1)

    async def _has_room(self, line: BatchLine) -> bool:
        """Take room for a line once there is some; False: it is not to be asked."""

        async def take() -> None:
            await self._own.acquire()
            try:
                await self._context.in_flight.acquire(len(line.body))
            except BaseException:
                self._own.release()
                raise

        taking = asyncio.create_task(take())
        over = asyncio.create_task(self._over.wait())
        has_room = False
        try:
            await asyncio.wait({taking, over}, return_when=asyncio.FIRST_COMPLETED)
            has_room = taking.done() and not self._over.is_set()
        finally:
            over.cancel()
            if not taking.done():
                taking.cancel()
            elif not has_room:
                self._leave(line)
        return has_room

    def _leave(self, line: BatchLine) -> None:
        self._context.in_flight.release(len(line.body))
        self._own.release()

    async def _ask_line(self, line: BatchLine) -> None:
        try:
            if (answer := await self._answer_of(line)) is not None:
                response = {
                    "status_code": answer.status,
                    "request_id": answer.request_id,
                    "body": body_of(answer),
                }
                add = self._results.add
                await asyncio.to_thread(add, line.number, line.custom_id, response, None)
        finally:
            self._leave(line)

    async def _answer_of(self, line: BatchLine) -> OwnAnswer | None:
        """Return the answer of one line; None where nothing more is to be asked."""
        again, context = AskingAgain(), self._context
        while not self._over.is_set():
            try:
                caller = context.caller(self._asks)
            except KeyRefused:  # for which the batch ends in a moment
                caller = None
            if caller is None:
                await self._pause(_LOOK_S)
                continue
            answer = await own_request(context.app, self._endpoint, line.body, caller, self._over)
            if answer is None:
                return None
            if (wait_s := again.wait_s(answer)) is None:
                return answer
            await self._pause(wait_s)
        return None

    async def _pause(self, seconds: float) -> None:
        """Wait, unless nothing more is to be asked."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
