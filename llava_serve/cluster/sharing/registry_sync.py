"""Synchronisation of a controller's registry with those of the other controllers of its cluster.

Requests never wait for it: the registry is this process's own, and what others know is merged into
it a few times a second. While the shared state is away the controller works with what it knows.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice

from pydantic import ValidationError

from llava_serve.accounts.key_counts import KeyCounts
from llava_serve.background import background
from llava_serve.cluster.health.prober import Prober
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.sharing.shared_state import SharedState, SharedStateAway, StateRecord
from llava_serve.cluster.sharing.shared_workers import SharedWorkers
from llava_serve.cluster.sharing.state_message import ControllerMessage, WorkerMessage
from llava_serve.retry import RateLimitedWarning, backoff_s

logger = logging.getLogger(__name__)

_EVERY_S = 0.25
_LONGEST_WAIT_S = 1.0  # while the shared state is away
_AT_ONCE = 200  # workers told of or taken over in one go: some milliseconds
_PEER_EXPIRY_S = 5.0  # a controller that is silent for so long waits for no answers
_WORKER, _CONTROLLER = "worker ", "controller "  # what keys begin with


@dataclass(frozen=True, slots=True)
class _Peer:
    """What another controller told of itself, and as of when."""

    told: ControllerMessage
    as_of: float


@dataclass
class RegistrySync:
    """Keeps a registry in step with those of the other controllers that use the same state.

    `name` is unlike any other controller's; `watch` has a worker's sight checked from here, which
    else the controller does that the worker reports to. What runs for API keys, `keys`, is shared.
    """

    workers: Registry
    prober: Prober
    state: SharedState
    name: str
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    watch: Callable[[RegisteredWorker], None] = lambda worker: None
    keys: KeyCounts = field(default_factory=KeyCounts)
    _failures: int = field(default=0, init=False)  # in a row
    _since: int = field(default=0, init=False)
    _asked_at: float = field(default=float("-inf"), init=False)
    _peers: dict[str, _Peer] = field(default_factory=dict, init=False)  # by name

    def __post_init__(self) -> None:
        self._shared = SharedWorkers(self.workers, self.prober, self.clock)
        self._warning = RateLimitedWarning(logger, self.clock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stay in step while the body runs."""
        async with self.state.opened(), background(self._keep_in_step(), "registry-sync"):
            yield

    async def _keep_in_step(self) -> None:
        while True:
            await self.turn()
            wait_s = backoff_s(self._failures, _EVERY_S, _LONGEST_WAIT_S)
            has_more = len(self._shared.changed) >= _AT_ONCE and not self._failures
            await self.sleep(_EVERY_S / 10 if has_more else wait_s)

    async def turn(self) -> None:
        """Exchange once, whether it fails or not, and do what follows from what is known then."""
        try:
            await self._exchange()
            if self._failures:
                logger.info("the shared state answers again")
                self._warning.reset()
            self._failures = 0
        except SharedStateAway as exc:
            self._failures += 1
            self._warning.warn(
                "away", "working on without the other controllers, still trying: %s", exc
            )
        now = self.clock()
        self._count_elsewhere(now)
        self._ask_silent(now)

    async def _exchange(self) -> None:
        """Tell what has happened here since the last time, and take over what others told.

        Raises:
            SharedStateAway: it is told with the next exchange.
        """
        now, sent = self.clock(), dict(islice(self._shared.changed.items(), _AT_ONCE))
        changed = [
            StateRecord(
                _WORKER + address, self._shared.message(address).model_dump_json(), now - at
            )
            for address, at in sent.items()
        ]
        told = ControllerMessage(
            in_flight=self.workers.in_flight(),
            key_answers=self.keys.answers.here,
            key_tokens=self.keys.tokens.here,
        )
        own = StateRecord(_CONTROLLER + self.name, told.model_dump_json())
        answer = await self.state.exchange(own, changed, self._since)
        for address, at in sent.items():
            if self._shared.changed[address] == at:
                del self._shared.changed[address]
        # Controllers come before workers: a worker's load is without what is known of these.
        for i, record in enumerate(sorted(answer.records, key=lambda record: record.key)):
            self._take(record, now - record.age_s)
            if i % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)  # requests come first
        if not answer.is_continued:  # the first exchange, or the state has begun anew
            self._shared.note_all()
        self._since = answer.revision

    def _take(self, record: StateRecord, at: float) -> None:
        try:
            if record.key.startswith(_CONTROLLER):
                told = ControllerMessage.model_validate_json(record.value)
                self._peers[record.key] = _Peer(told, at)
                self._count_elsewhere(self.clock())
            else:
                self._shared.merge(WorkerMessage.model_validate_json(record.value), at)
        except ValidationError as exc:
            self._warning.warn("unread", "cannot read what another controller wrote: %s", exc)

    def _count_elsewhere(self, now: float) -> None:
        in_flight, answers, tokens = Counter[str](), Counter[str](), Counter[str]()
        for name, peer in list(self._peers.items()):
            if now - peer.as_of > _PEER_EXPIRY_S:
                del self._peers[name]
            else:
                in_flight.update(peer.told.in_flight)
                answers.update(peer.told.key_answers)
                tokens.update(peer.told.key_tokens)
        self.workers.count_elsewhere(in_flight)
        self.keys.answers.elsewhere, self.keys.tokens.elsewhere = answers, tokens

    def _ask_silent(self, now: float) -> None:
        """Ask workers that report to another controller, once half of their lease is over.

        That controller may have died, or cannot tell what it hears.
        """
        if now - self._asked_at < self.workers.expiry_s / 8:
            return
        self._asked_at = now
        self.workers.forget_expired(now)  # those that only other controllers heard of, too
        self._shared.forget_gone()
        for worker in self.workers.alive(now):
            is_late = now - worker.last_seen > self.workers.expiry_s / 2
            if is_late and worker.expires and not worker.reports_here:
                self.prober.ask_soon(worker)
                self.watch(worker)
