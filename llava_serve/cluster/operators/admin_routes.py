"""Admin routes of the controller: its workers and models, drains, removal, probes, log level.

They are for who shows the cluster's token or a key with the role admin, on loopback too.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from llava_serve import logs
from llava_serve.cluster.operators.snapshot import MOST_WORKERS, Snapshots
from llava_serve.cluster.operators.status_routes import describe_workers
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.upstream.upstream import Upstream
from llava_serve.cluster.waiting.line import Line
from llava_serve.config import LogLevel
from llava_serve.errors import AdminOnly, NoSuchWorker, WorkerUnreachable
from llava_serve.http.caller import caller_of
from llava_serve.http.json_body import JsonRoute
from llava_serve.protocol.cluster import WorkerAddress
from llava_serve.protocol.cluster_snapshot import ClusterSnapshot

logger = logging.getLogger(__name__)


class LogLevelBody(BaseModel):
    """The least severe message to log from now on."""

    level: LogLevel


class ProbeBody(BaseModel):
    """The address to look at from here."""

    address: WorkerAddress


async def _require_admin(request: Request) -> None:
    if not caller_of(request).is_admin:
        raise AdminOnly(request.url.path)


@dataclass(frozen=True, slots=True)
class Administration:
    """What operators can do with the workers of a controller."""

    workers: Registry
    upstream: Upstream
    line: Line
    snapshots: Snapshots
    clock: Callable[[], float]

    def drain(self, worker_id: str) -> None:
        """Give a worker nothing new; what runs there ends. Raises: NoSuchWorker."""
        worker = self._find(worker_id)
        self.workers.set_draining(worker.address, True)
        logger.info("worker %s drains: %d requests run there", worker.address, worker.in_flight)

    def undrain(self, worker_id: str) -> None:
        """Put a worker back into dispatch. Raises: NoSuchWorker."""
        worker = self._find(worker_id)
        self.workers.set_draining(worker.address, False)
        logger.info("worker %s is in dispatch again", worker.address)

    def remove(self, worker_id: str) -> None:
        """Forget a worker; one that lives joins again. Raises: NoSuchWorker."""
        worker = self._find(worker_id)
        self.workers.deregister(worker.address)
        logger.info("worker %s was removed", worker.address)

    def models(self) -> list[dict[str, Any]]:
        """Return what is served, with its workers, slots, load and line."""
        known = self.workers.known()
        alive = {worker.address for worker in self.workers.alive(self.clock())}
        names = sorted({name for worker in known for name in worker.status.model_names})
        waiting = self.line.lengths()
        return [
            _described(name, known, alive) | {"waiting": waiting.get(name, 0)} for name in names
        ]

    async def probe(self, address: str) -> dict[str, Any]:
        """Look from here at what answers at an address; strangers are not shown the token."""
        known = self.workers.get(address)
        is_stranger = known is None or known.is_legacy
        try:
            status = await self.upstream.status(address, is_legacy=is_stranger)
        except WorkerUnreachable as exc:
            return {"address": address, "reachable": False, "reason": exc.message}
        return {
            "address": address,
            "reachable": True,
            "worker_id": status.worker_id,
            "models": status.model_names,
        }

    def _find(self, worker_id: str) -> RegisteredWorker:
        """Return the worker with this id, or at this address. Raises: NoSuchWorker."""
        for worker in self.workers.known():
            if worker_id in (worker.status.worker_id, worker.address):
                return worker
        raise NoSuchWorker(worker_id)


def _described(model: str, known: list[RegisteredWorker], alive: set[str]) -> dict[str, Any]:
    serving = [worker for worker in known if model in worker.status.model_names]
    live = [worker for worker in serving if worker.address in alive]
    sums = Counter[str]()
    for worker in live:
        sums["slots"] += worker.status.capacity or 0
        sums["queue_length"] += worker.queue_length
    return {
        "model": model,
        "workers": len(serving),
        "alive": len(live),
        "slots": sums["slots"],
        "queue_length": sums["queue_length"],
    }


def admin_router(administration: Administration) -> APIRouter:
    """Return the routes below /admin."""
    router = APIRouter(
        prefix="/admin", route_class=JsonRoute, dependencies=[Depends(_require_admin)]
    )

    @router.get("/workers")
    async def workers() -> list[dict[str, Any]]:
        return describe_workers(administration.workers, administration.clock())

    @router.get("/models")
    async def models() -> list[dict[str, Any]]:
        return administration.models()

    @router.get("/cluster")
    async def cluster(
        search: str = Query("", max_length=200), count: int = Query(100, ge=0, le=MOST_WORKERS)
    ) -> ClusterSnapshot:
        return administration.snapshots.take(search, count)

    @router.post("/workers/{worker_id:path}/drain", status_code=204)
    async def drain(worker_id: str) -> None:
        administration.drain(worker_id)

    @router.post("/workers/{worker_id:path}/undrain", status_code=204)
    async def undrain(worker_id: str) -> None:
        administration.undrain(worker_id)

    @router.delete("/workers/{worker_id:path}", status_code=204)
    async def remove(worker_id: str) -> None:
        administration.remove(worker_id)

    @router.put("/log-level", status_code=204)
    async def log_level(body: LogLevelBody) -> None:
        logs.set_level(body.level)
        logger.info("the log level is %s", body.level)

    @router.post("/probe")
    async def probe(body: ProbeBody) -> dict[str, Any]:
        return await administration.probe(body.address)

    return router
