"""Supervisor of the processes of a launch: start, readiness, restart, stop."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import aiohttp

from llava_serve.background import background
from llava_serve.client import ChatClient
from llava_serve.credential import Credential
from llava_serve.errors import CommandError, ServeError
from llava_serve.http.client_error import reason_of
from llava_serve.launching.child import running
from llava_serve.launching.plan import Process
from llava_serve.retry import backoff_s

_GRACE_S = 25.0  # a little more than `serving` gives to open streams
_POLL_S = 0.25
_REMIND_S = 20.0
_HEALTH_TIMEOUT = aiohttp.ClientTimeout(total=5)
_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 30.0
_HEALTHY_AFTER_S = 60.0

Missing = Callable[[Process], Awaitable[str | None]]
Keep = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


class ProcessLog(Protocol):
    """Takes the lines of processes, and notes of their supervisor."""

    def line(self, name: str, text: str) -> None:
        """Take one line that a process wrote."""
        ...

    def note(self, text: str) -> None:
        """Take what the supervisor has to say."""
        ...


Stages = Sequence[Sequence[Process]]


class Supervisor:
    """Starts stages of processes, restarts what dies, ends all of it in reverse order.

    `missing` says what a process still lacks before it is ready.
    """

    def __init__(self, missing: Missing, console: ProcessLog) -> None:
        self._missing = missing
        self._console = console
        self._stages: list[list[asyncio.Task[None]]] = []
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask for the end, from a signal handler; a second call kills instead of waiting."""
        if self._stopping.is_set():
            self._console.note("killing what is left")
            for task in self._tasks():
                task.cancel()
        self._stopping.set()

    async def run(
        self, stages: Stages, when_ready: Callable[[], None], keep: Keep | None = None
    ) -> None:
        """Keep all stages alive until `stop` is called.

        `keep` keeps further processes alive until it is cancelled. It starts and ends as if it were
        the second stage, and sets its event once they are ready.

        Raises:
            CommandError: a process ended before it was ever ready; nothing is left running.
        """
        keeping = asyncio.create_task(self._keep_all(stages, when_ready, keep))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
        finally:
            stopping.cancel()
            keeping.cancel()
            await self._end_all()

    async def _keep_all(
        self, stages: Stages, when_ready: Callable[[], None], keep: Keep | None
    ) -> None:
        first, *others = stages
        await self._until_ready(self._start(first))
        kept = asyncio.Event()
        if keep is None:
            kept.set()
        else:
            self._stages.append([asyncio.create_task(keep(kept), name="keep")])
        ready = [kept] + [event for stage in others for event in self._start(stage)]
        await self._until_ready(ready)
        when_ready()
        await self._until_ready([asyncio.Event()])  # which never comes: only a failure ends this

    def _start(self, stage: Sequence[Process]) -> list[asyncio.Event]:
        ready = [asyncio.Event() for _ in stage]
        self._stages.append(
            [
                asyncio.create_task(self._keep_alive(process, event), name=process.name)
                for process, event in zip(stage, ready, strict=True)
            ]
        )
        return ready

    async def _until_ready(self, events: Sequence[asyncio.Event]) -> None:
        """Wait for all events, or for the first process that fails."""
        async with background(_all_set(events), "all-ready") as ready:
            await asyncio.wait({ready, *self._tasks()}, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks():
                if task.done():
                    task.result()

    async def _end_all(self) -> None:
        self._console.note("ending all processes; a second Ctrl-C kills them at once")
        for stage in reversed(self._stages):
            for task in stage:
                task.cancel()
            # Also takes the errors of those that failed together: only one of them is shown.
            await asyncio.gather(*stage, return_exceptions=True)
        self._console.note("all processes have ended")

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for stage in self._stages for task in stage]

    async def _keep_alive(self, process: Process, ready: asyncio.Event) -> None:
        backoff = RestartBackoff()
        write_line = partial(self._console.line, process.name)
        while True:
            started = time.monotonic()
            async with running(process.command, write_line, _GRACE_S) as child:
                announcing = self._announce_ready(process, ready, started)
                async with background(announcing, "announce-ready"):
                    code = await child.ended()
            if not ready.is_set():
                raise CommandError(
                    f"{process.name} ended before it was ready: {describe_end(code)}",
                    f"Its own lines above, behind `{process.name}`, say why.",
                )
            backoff = backoff.after_exit(time.monotonic() - started)
            delay_s = backoff.delay_s
            self._console.note(
                f"{process.name} ended: {describe_end(code)}; it starts again in {delay_s:.0f} s"
            )
            await asyncio.sleep(delay_s)

    async def _announce_ready(self, process: Process, ready: asyncio.Event, started: float) -> None:
        """Say when `process` is ready, and now and then what it still lacks."""
        reminded = started
        while (missing := await self._missing(process)) is not None:
            waited = time.monotonic() - started
            if started + waited - reminded >= _REMIND_S:
                reminded = started + waited
                self._console.note(f"{process.name} is not ready after {waited:.0f} s: {missing}")
            await asyncio.sleep(_POLL_S)
        word = "ready again" if ready.is_set() else "ready"
        self._console.note(f"{process.name} is {word} after {time.monotonic() - started:.1f} s")
        ready.set()


async def _all_set(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


def describe_end(code: int) -> str:
    """Say in words what asyncio's exit code means."""
    if code >= 0:
        return f"exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    name = names.get(-code, f"signal {-code}")  # most real-time signals have no name
    hint = ", by hand or by the system for lack of memory" if -code == signal.SIGKILL else ""
    return f"killed by {name}{hint}"


class Readiness:
    """Asks the processes of one launch over HTTP whether they are ready."""

    def __init__(
        self, session: aiohttp.ClientSession, controller: str, credential: Credential = dict
    ) -> None:
        self._session = session
        self._controller = ChatClient(controller, session, credential=credential)

    async def missing(self, process: Process) -> str | None:
        """Return what `process` lacks, or None when it is ready."""
        # What it waits for is asked first: its own refusals would fill the log in the meantime.
        for address in filter(None, (process.depends_on, process.address)):
            if (reason := await self._unhealthy(f"{address}/health")) is not None:
                return reason
        if process.model is None:
            return None
        try:
            listed = [card.id for card in await self._controller.models()]
        except ServeError as exc:
            return exc.message
        return None if process.model in listed else "the controller does not list its model yet"

    async def _unhealthy(self, health: str) -> str | None:
        try:
            async with self._session.get(health, timeout=_HEALTH_TIMEOUT) as answer:
                return None if answer.status == 200 else f"{health} answers {answer.status}"
        except aiohttp.ClientSSLError as exc:
            return f"{health}: {reason_of(exc)}"
        except (TimeoutError, aiohttp.ClientError):
            return f"nothing answers at {health} yet"


@dataclass(frozen=True, slots=True)
class RestartBackoff:
    """Delay before a process is started again: it doubles while the process keeps ending early."""

    early_exits: int = 0

    def after_exit(self, uptime_s: float) -> "RestartBackoff":
        """Count one more exit; after a minute of uptime the delay is the first one again."""
        return RestartBackoff(1 if uptime_s >= _HEALTHY_AFTER_S else self.early_exits + 1)

    @property
    def delay_s(self) -> float:
        """Seconds to wait before the next start: 1, 2, 4 and so on, up to 30."""
        return backoff_s(self.early_exits - 1, _FIRST_DELAY_S, _LONGEST_DELAY_S)
