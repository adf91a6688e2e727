"""Placed replica: an actor as its launch follows it; its log lines, its state, its end."""

import asyncio
import time
from dataclasses import replace

from ray.exceptions import ActorUnavailableError, RayError

from llava_serve.launching.placement.machines import PlacedActor, what_is_free
from llava_serve.launching.placement.ready_wait import ReadyWait
from llava_serve.launching.placement.replica import ReplicaReport
from llava_serve.launching.placement.replica_plan import ReplicaPlan
from llava_serve.launching.supervisor import ProcessLog

_ASK_S = 1.0
_ANSWER_S = 5.0
_REMIND_S = 20.0
_END_S = 60.0  # more than its supervisor gives to a worker and then to its SGLang server
_REMEDY = "Its own lines above say why."
_DEAD_REMEDY = (
    "Install the same version of llava_serve and Ray, on the same version of Python, on every "
    "machine of the cluster."
)


class PlacedReplica:
    """One replica, from when Ray is asked for it to its end."""

    def __init__(self, plan: ReplicaPlan, log: ProcessLog) -> None:
        """Raises: CommandError, when the cluster has an actor of its name."""
        self.name = plan.name
        self.number = plan.number
        self.is_draining = False
        self.is_dead = False  # Ray does not start it again
        self.failure: tuple[str, str] | None = None  # message and remedy
        self._plan = plan
        self._log = log
        self._actor = PlacedActor(plan)
        self._report: ReplicaReport | None = None
        self._asking: asyncio.Future[ReplicaReport] | None = None
        self._seen = self._lives = 0
        self._wait = ReadyWait(time.monotonic())
        self._reminded_at = self._wait.began_at - _REMIND_S  # one without a place says so at once

    @property
    def address(self) -> str | None:
        """The address of its worker, while that is ready."""
        report = self._report
        return report.address if report is not None and report.missing is None else None

    async def follow(self) -> None:
        """Ask it for its state and lines again and again, until it is dead."""
        while not self.is_dead:
            try:
                report = await self._answer()
            except RayError as exc:
                self.is_dead = True
                self.failure = (str(exc).strip().rpartition("\n")[2], _DEAD_REMEDY)
            else:
                if report is None:
                    await self._without_answer()
                else:
                    self._take(report)
                    await self._remind(report.missing)
            await asyncio.sleep(_ASK_S)

    async def _answer(self) -> ReplicaReport | None:
        """Return its report; None while there is none; it is asked once at a time."""
        if self._asking is None:
            asked = self._actor.handle.report.remote(self._seen, self._lives)
            self._asking = asyncio.wrap_future(asked.future())
        await asyncio.wait({self._asking}, timeout=_ANSWER_S)
        if not self._asking.done():
            return None
        answered, self._asking = self._asking, None
        try:
            return answered.result()
        except ActorUnavailableError:  # Ray starts it again
            return None

    def _take(self, report: ReplicaReport) -> None:
        before = self._report
        is_remade = before is not None and before.life != report.life
        if before is None or is_remade:
            self._log.note(f"{self.name} is placed on {report.machine}")
            self._reminded_at = time.monotonic()
        if is_remade:
            self._lives += 1
            self._seen = 0  # its lines were asked for by the number of another's: ask again
        else:
            for number, text in report.lines:
                self._log.line(self.name, text)
                self._seen = number
        self._report = report
        self.failure = None if report.failure is None else (report.failure[0], _REMEDY)
        waited_s = self._wait.take(time.monotonic(), is_ready=report.missing is None)
        if waited_s is not None:
            self._log.note(f"{self.name} is ready after {waited_s:.1f} s")

    async def _without_answer(self) -> None:
        if self._report is not None and self._wait.is_ready:
            self._wait.take(time.monotonic(), is_ready=False)
            self._log.note(f"{self.name} on {self._report.machine} does not answer")
            self._report = replace(self._report, missing="it does not answer")
        try:
            free = await asyncio.to_thread(what_is_free)
        except RayError as exc:
            free = f"no head that answers: {exc}"
        await self._remind(f"it needs {self._plan.needs}, and the cluster has {free}")

    async def _remind(self, missing: str | None) -> None:
        now = time.monotonic()
        if missing is not None and now - self._reminded_at >= _REMIND_S:
            self._reminded_at = now
            self._log.note(f"{self.name} waits for {now - self._wait.began_at:.0f} s: {missing}")

    async def end(self) -> None:
        """End its processes in order, and give back what it took; a cancel kills them."""
        try:
            if self._report is not None and not self.is_dead:
                stopping = self._actor.handle.stop.remote(self._seen)
                self._take(await asyncio.wait_for(stopping, _END_S))
        except (TimeoutError, RayError) as exc:
            self._log.note(f"{self.name} is killed: {type(exc).__name__}")
        finally:
            if self._asking is not None:
                self._asking.cancel()
            self._actor.kill()
