"""Admission of workers to the cluster: the token, the call back, and the trusted addresses."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from llava_serve.cluster.health.canary import Canary
from llava_serve.cluster.health.prober import Prober
from llava_serve.cluster.recording.vitals_history import VitalsHistory
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.upstream.upstream import Upstream
from llava_serve.cluster_token import is_shown
from llava_serve.errors import RegistrationRefused, WorkerUnreachable
from llava_serve.http.hosts import ip_of
from llava_serve.protocol.cluster import Heartbeat, Registration, WorkerStatus

logger = logging.getLogger(__name__)

# Anybody may ask for a refresh; more often than this they share one.
_REFRESH_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """What a worker is admitted by: the token, or the IP address of LLaVA's, which know none."""

    token: str
    addresses: frozenset[str] = frozenset()


@dataclass
class Admission:
    """Lets workers into the registry that prove who they are."""

    workers: Registry
    upstream: Upstream
    prober: Prober
    canary: Canary
    policy: AdmissionPolicy
    vitals: VitalsHistory
    clock: Callable[[], float]
    _refreshing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _refreshed_at: float = field(default=float("-inf"), init=False)

    async def register(self, registration: Registration, caller: HTTPConnection) -> None:
        """Add a worker after calling it back at the address it advertises.

        Raises:
            RegistrationRefused: with the reason.
        """
        address = registration.worker_name
        try:
            is_legacy = self._is_legacy(address, caller)
            status = await self._call_back(address, registration.worker_status, is_legacy)
            worker = self.workers.register(
                address,
                status,
                self.clock(),
                is_legacy=is_legacy,
                expires=registration.check_heart_beat,
            )
            self.canary.watch(worker)
            self.vitals.add(address, registration.vitals, self.clock())
        except RegistrationRefused as exc:
            logger.warning("refused the worker %s from %s: %s", address, _host(caller), exc.message)
            raise
        kind = "LLaVA's own worker" if is_legacy else "worker"
        logger.info("%s %s registered; it serves %s", kind, address, ", ".join(status.model_names))

    def heartbeat(self, sent: Heartbeat, caller: HTTPConnection) -> bool:
        """Renew a worker's lease; False tells the worker to register again.

        Raises:
            RegistrationRefused: the caller may not speak for that worker.
        """
        address = sent.worker_name
        is_legacy = self._is_legacy(address, caller)
        is_known = self.workers.heartbeat(address, sent.queue_length, self.clock())
        if is_known and not is_legacy:
            self.vitals.add(address, sent.vitals, self.clock())
        if worker := self.workers.get(address):  # which may have registered elsewhere
            self.canary.watch(worker)
        return is_known

    def deregister(self, address: str, caller: HTTPConnection) -> None:
        """Take a worker out at its own wish.

        Raises:
            RegistrationRefused: the caller may not speak for that worker.
        """
        self._is_legacy(address, caller)
        if self.workers.deregister(address):
            logger.info("worker %s left", address)

    async def refresh(self) -> None:
        """Ask every worker for its status; one that does not answer leaves dispatch."""
        async with self._refreshing:
            if self.clock() - self._refreshed_at < _REFRESH_EVERY_S:
                return
            await asyncio.gather(*(self.prober.ask(worker) for worker in self.workers.known()))
            self._refreshed_at = self.clock()

    def _is_legacy(self, address: str, caller: HTTPConnection) -> bool:
        """Check who calls; True for a trusted address without a token.

        Raises:
            RegistrationRefused: the caller may not speak for the worker at `address`.
        """
        authorization = caller.headers.get("authorization")
        if authorization is not None:
            if not is_shown(self.policy.token, authorization):
                raise RegistrationRefused("the token you sent is not this controller's")
            return False
        host = _host(caller)
        if str(ip_of(host)) not in self.policy.addresses:
            raise RegistrationRefused(
                f"you sent no cluster token, and {host} is not in --trust-workers-from"
            )
        self.workers.check_owner(address, is_legacy=True)
        return True

    async def _call_back(
        self, address: str, sent: WorkerStatus | None, is_legacy: bool
    ) -> WorkerStatus:
        """Return what the worker at `address` says of itself, if it is the one that calls."""
        try:
            status = await self.upstream.status(address, is_legacy=is_legacy)
        except WorkerUnreachable as exc:
            raise RegistrationRefused(f"you advertised {address}; from here {exc.message}") from exc
        if is_legacy:
            if sent is not None and sent.model_names != status.model_names:
                raise RegistrationRefused(_not_you(address, status))
            return status
        if sent is None or sent.worker_id is None:
            raise RegistrationRefused(
                "worker_status.worker_id is missing: it shows that you are who answers at "
                f"{address}"
            )
        if sent.worker_id != status.worker_id:
            raise RegistrationRefused(_not_you(address, status))
        if missing := set(status.model_names) - {card.id for card in status.cards}:
            raise RegistrationRefused(f"worker_status.cards lacks {', '.join(sorted(missing))}")
        return status


def _host(caller: HTTPConnection) -> str:
    return caller.client.host if caller.client else "an unknown address"


def _not_you(address: str, status: WorkerStatus) -> str:
    return (
        f"you advertised {address}; from here that is not you, but another worker, which serves "
        f"{', '.join(status.model_names)}"
    )
