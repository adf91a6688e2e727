"""Keeps the processes of a plan alive, from the first start to the orderly end."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from llava_serve.errors import CommandError
from llava_serve.launching.child import running
from llava_serve.launching.console import LaunchConsole
from llava_serve.launching.plan import Process
from llava_serve.launching.restarts import Restarts

_GRACE_S = 25.0  # a little more than `serving` gives to open streams
_POLL_S = 0.25
_REMIND_S = 20.0

Missing = Callable[[Process], Awaitable[str | None]]
Stages = Sequence[Sequence[Process]]


class Supervisor:
    """Starts stages of processes, restarts what dies, ends all of it in reverse order.

    `missing` says what a process still lacks before it is ready.
    """

    def __init__(self, missing: Missing, console: LaunchConsole) -> None:
        self._missing = missing
        self._console = console
        self._stages: list[list[asyncio.Task[None]]] = []
        self._stop_asked = asyncio.Event()

    def stop(self) -> None:
        """Ask for the end, from a signal handler; a second call kills instead of waiting."""
        if self._stop_asked.is_set():
            self._console.note("killing what is left")
            for task in self._tasks():
                task.cancel()
        self._stop_asked.set()

    async def run(self, stages: Stages, when_ready: Callable[[], None]) -> None:
        """Keep all stages alive until `stop` is called.

        Raises:
            CommandError: a process ended before it was ever ready; nothing is left running.
        """
        keeping = asyncio.create_task(self._keep_all(stages, when_ready))
        asked = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({keeping, asked}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
        finally:
            asked.cancel()
            keeping.cancel()
            await self._end_all()

    async def _keep_all(self, stages: Stages, when_ready: Callable[[], None]) -> None:
        first, *others = stages
        await self._until_ready(self._start(first))
        ready = [event for stage in others for event in self._start(stage)]
        await self._until_ready(ready)
        when_ready()
        await self._until_ready([asyncio.Event()])  # which never comes: only a failure ends this

    def _start(self, stage: Sequence[Process]) -> list[asyncio.Event]:
        ready = [asyncio.Event() for _ in stage]
        self._stages.append(
            [
                asyncio.create_task(self._keep(process, event), name=process.name)
                for process, event in zip(stage, ready, strict=True)
            ]
        )
        return ready

    async def _until_ready(self, events: Sequence[asyncio.Event]) -> None:
        """Wait for all events, or for the first process that fails."""
        ready = asyncio.create_task(_all_set(events))
        try:
            await asyncio.wait({ready, *self._tasks()}, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks():
                if task.done():
                    task.result()
        finally:
            ready.cancel()

    async def _end_all(self) -> None:
        self._console.note("ending all processes; a second Ctrl-C kills them at once")
        for stage in reversed(self._stages):
            for task in stage:
                task.cancel()
            # Also takes the errors of those that failed together: only one of them is told.
            await asyncio.gather(*stage, return_exceptions=True)
        self._console.note("all processes have ended")

    def _tasks(self) -> list["asyncio.Task[None]"]:
        return [task for stage in self._stages for task in stage]

    async def _keep(self, process: Process, ready: asyncio.Event) -> None:
        restarts = Restarts()
        write_line = partial(self._console.line, process.name)
        while True:
            started = time.monotonic()
            async with running(process.command, write_line, _GRACE_S) as child:
                announcing = asyncio.create_task(self._announce(process, ready, started))
                try:
                    code = await child.ended()
                finally:
                    announcing.cancel()
            if not ready.is_set():
                raise CommandError(
                    f"{process.name} ended before it was ready: {describe_end(code)}",
                    f"Its own lines above, behind `{process.name}`, say why.",
                )
            restarts = restarts.after_death(time.monotonic() - started)
            delay_s = restarts.delay_s
            self._console.note(
                f"{process.name} ended: {describe_end(code)}; it starts again in {delay_s:.0f} s"
            )
            await asyncio.sleep(delay_s)

    async def _announce(self, process: Process, ready: asyncio.Event, started: float) -> None:
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
