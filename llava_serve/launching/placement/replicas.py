"""Replicas of all models of a launch: started, scaled with the waiting line, drained, ended."""

import asyncio
import time
from collections.abc import Sequence

from llava_serve.background import BackgroundTasks
from llava_serve.errors import CommandError
from llava_serve.launching.placement.demand import DemandClient
from llava_serve.launching.placement.options import PlacedModel
from llava_serve.launching.placement.placed_replica import PlacedReplica
from llava_serve.launching.placement.replica_plan import ReplicaPlan
from llava_serve.launching.placement.scaling import ScalingPolicy
from llava_serve.launching.supervisor import ProcessLog

_LOOK_S = 1.0


class ReplicaSet:
    """The replicas of one model; `plans` has one for each that there may be."""

    def __init__(
        self,
        placed: PlacedModel,
        plans: Sequence[ReplicaPlan],
        idle_after_s: float,
        log: ProcessLog,
    ) -> None:
        self.model = placed.model.name
        self._plans = plans
        self._log = log
        self._least = placed.options.least
        self._policy = ScalingPolicy(self._least, placed.options.most, idle_after_s)
        self._replicas: dict[str, PlacedReplica] = {}
        self._tasks = BackgroundTasks()
        self._has_started = False

    async def look(self, client: DemandClient) -> bool:
        """Do what is due; tell whether all that there must be were ever ready.

        Raises:
            CommandError: before that, one failed.
        """
        for replica in list(self._replicas.values()):
            await self._look_at(replica, client)
        self._add(self._least - len(self._serving()))
        if not self._has_started:
            addresses = [replica.address for replica in self._serving()]
            served = [address and await client.is_served(address) for address in addresses]
            self._has_started = all(served)
        elif self._least < self._policy.most:
            await self._scale(client)
        return self._has_started

    async def end(self) -> None:
        """End all replicas, in order; a cancel kills them."""
        async with self._tasks:
            pass
        await asyncio.gather(*(replica.end() for replica in self._replicas.values()))

    async def _look_at(self, replica: PlacedReplica, client: DemandClient) -> None:
        if replica.failure is not None and not self._has_started:
            message, remedy = replica.failure
            raise CommandError(f"{replica.name} ended before it was ready: {message}", remedy)
        if replica.is_dead:
            self._log.note(f"{replica.name} is lost: {replica.failure and replica.failure[0]}")
            await self._remove(replica)
        elif replica.is_draining:
            address = replica.address
            if address is None or await client.is_drained(address):
                await self._remove(replica)

    async def _scale(self, client: DemandClient) -> None:
        demand = await client.demand(self.model)
        if demand is None:
            return
        serving = self._serving()
        ready = sum(replica.address is not None for replica in serving)
        now = time.monotonic()
        target = self._policy.target(now, demand, ready, len(serving) - ready)
        for _ in range(self._add(target - len(serving))):
            self._log.note(
                f"{self.model}: {demand.waiting} requests wait, there will be another replica"
            )
        for replica in list(reversed(serving))[: max(0, len(serving) - target)]:
            self._log.note(f"{replica.name} is drained: the others have free slots")
            replica.is_draining = True

    def _serving(self) -> list[PlacedReplica]:
        """Those that are there to stay; the first in the order of the plans first."""
        kept = (replica for replica in self._replicas.values() if not replica.is_draining)
        return sorted(kept, key=lambda replica: replica.number)

    def _add(self, count: int) -> int:
        """Ask Ray for so many more, if there are plans for them; return for how many it was asked.

        Raises:
            CommandError: a name is taken. Once all have started, the next look asks again instead:
                the name of a replica that has just ended may not be free yet.
        """
        unused = [plan for plan in self._plans if plan.name not in self._replicas]
        added = 0
        for plan in unused[: max(count, 0)]:
            try:
                replica = PlacedReplica(plan, self._log)
            except CommandError as exc:
                if not self._has_started:
                    raise
                self._log.note(f"{plan.name} is asked for again: {exc.message}")
                continue
            self._replicas[plan.name] = replica
            self._tasks.start(replica.follow(), plan.name)
            added += 1
        return added

    async def _remove(self, replica: PlacedReplica) -> None:
        await replica.end()
        del self._replicas[replica.name]


class Replicas:
    """All replicas of a launch."""

    def __init__(self, sets: Sequence[ReplicaSet], client: DemandClient) -> None:
        self._sets = sets
        self._client = client

    async def keep(self, ready: asyncio.Event) -> None:
        """Keep the replicas until cancelled; set `ready` once there are as many as there must be.

        Raises:
            CommandError: one failed before that.
        """
        try:
            while True:
                started = [await one.look(self._client) for one in self._sets]
                if all(started):
                    ready.set()
                await asyncio.sleep(_LOOK_S)
        finally:
            await asyncio.gather(*(one.end() for one in self._sets))
