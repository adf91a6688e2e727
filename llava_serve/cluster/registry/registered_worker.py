"""Registered worker: what the controller knows of one, and how loaded it is."""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated

from llava_serve.cluster.registry.answer_counts import AnswerCounts
from llava_serve.cluster.registry.breaker import CLOSED, Breaker, BreakerState
from llava_serve.protocol.cluster import WorkerStatus

# Annotated[bool, SHARED] makes a field one that all controllers of a cluster have one value of, as
# long as the worker's process lives; the value must fit in JSON.
SHARED = "shared"

# Of what no canary asks: the echo engine never looks, and LLaVA's workers tell no capabilities.
_NEVER_ASKED = "it is not asked: it takes no pictures, or repeats the question, or is LLaVA's own"


@dataclass(frozen=True, slots=True)
class RegisteredWorker:
    """One entry of the registry.

    `counts` are those of all workers, of the answers that are still made: an entry that is held
    tells its load as it is. `others` are the answers that no controller counts, as of the last
    heartbeat.
    """

    address: str
    status: WorkerStatus
    last_seen: float  # seconds on the caller's monotonic clock
    is_legacy: bool = False  # LLaVA's own worker: registered without the token, LLaVA's wire only
    expires: bool = True
    breaker: Breaker = CLOSED
    # It gets no new requests; what runs there ends.
    is_draining: Annotated[bool, SHARED] = False
    # Whether its answers follow pictures, and why that is known or not.
    sees: Annotated[bool | None, SHARED] = None
    sight: Annotated[str, SHARED] = "it has not been asked about pictures yet"
    checked_by: float = -math.inf  # until then pictures wait for its first check
    reports_here: bool = True  # and not to another controller of the cluster only
    is_busy: bool = False  # it refused a request, and its slots were not heard of since
    counts: AnswerCounts = field(default_factory=AnswerCounts, repr=False, compare=False)
    others: int = 0

    @property
    def is_reachable(self) -> bool:
        """Whether requests may go there, as far as failures say."""
        return self.breaker.state is not BreakerState.OPEN

    @property
    def takes_requests(self) -> bool:
        """Whether new requests may go there, while its lease runs."""
        return self.is_reachable and not self.is_draining

    @property
    def fingerprint(self) -> str | None:
        """What the worker says of itself, if it has shown the token."""
        return None if self.is_legacy else self.status.fingerprint

    @property
    def canary_model(self) -> str | None:
        """The model that can be asked whether it sees; None where there is none to ask."""
        cards = self.status.cards if not self.is_legacy else ()
        sighted = (card.id for card in cards if card.accepts_images and card.engine != "echo")
        return next(sighted, None)

    @property
    def batches_stand_back(self) -> bool:
        """Whether its engine makes the answers of batches in the time that others leave."""
        return not self.is_legacy and any(card.engine == "torch" for card in self.status.cards)

    @property
    def why(self) -> str:
        """Why `sees` is as it is, in plain words."""
        return _NEVER_ASKED if self.canary_model is None else self.sight

    @property
    def speed(self) -> float:
        """What the worker says of itself, to be weighed against the others."""
        return self.status.speed

    @property
    def in_flight(self) -> int:
        """Answers that this controller asked for and that are still made."""
        return self.counts.here.get(self.address, 0)

    @property
    def elsewhere(self) -> int:
        """Answers that other controllers of the cluster count."""
        return self.counts.elsewhere.get(self.address, 0)

    @property
    def queue_length(self) -> int:
        """Answers made and waiting, whoever asked for them."""
        return self.counts.of(self.address) + self.others

    @property
    def load(self) -> float:
        """Answers made and waiting per unit of speed: lower is better."""
        return self.queue_length / self.status.speed

    def awaits_canary(self, now: float) -> bool:
        """Tell whether it is held back from pictures until its first check, which is bounded."""
        return self.sees is None and now < self.checked_by

    def takes_images(self, now: float) -> bool:
        """Tell whether pictures may go there, as far as its sight is known."""
        return self.sees is not False and not self.awaits_canary(now)

    def in_place_of(self, before: "RegisteredWorker | None") -> "RegisteredWorker":
        """Return it, which registers, with what stays of the one that had its address.

        That are the failures, what was marked of the same process, and what is known of its sight
        where it serves the same models.
        """
        if before is None:
            return self
        breaker = before.breaker.restart()
        if not before.is_process_of(self.status):
            return replace(self, breaker=breaker)
        marked = replace(self, breaker=breaker, is_draining=before.is_draining)
        if before.is_same_model(self):
            return replace(marked, sees=before.sees, sight=before.sight)
        return marked

    def held_back(
        self, before: "RegisteredWorker | None", check_within_s: float
    ) -> "RegisteredWorker":
        """Return it with the time for its first check: as its entry had before, or anew."""
        if before is not None and before.is_same_model(self):
            return replace(self, checked_by=before.checked_by)
        if self.canary_model is None:
            return self
        return replace(self, checked_by=self.last_seen + check_within_s)

    def is_same_model(self, other: "RegisteredWorker") -> bool:
        """Tell whether both are one process that serves one and the same model."""
        same_names = self.status.model_names == other.status.model_names
        return same_names and self.is_process_of(other.status)

    def serves(self, model: str, *, native: bool) -> bool:
        """Tell whether a request for `model` can be sent there, on the native wire or LLaVA's."""
        return model in self.status.model_names and not (native and self.is_legacy)

    def is_process_of(self, status: WorkerStatus) -> bool:
        """Tell whether the process that gives `status` is this worker's."""
        return self.status.worker_id == status.worker_id

    def has_room(self, answers: int) -> bool:
        """Tell whether so many more would find free slots; where no capacity is told, always."""
        return not self.is_busy and self._fits(self.queue_length, answers)

    def has_own_room(self, answers: int) -> bool:
        """Tell the same, had nobody else sent the worker anything."""
        return self._fits(self.in_flight, answers)

    def counted(self, answers: int) -> int:
        """Return how many of so many answers are made at once."""
        return min(answers, self.status.capacity or answers)

    def _fits(self, queue_length: int, answers: int) -> bool:
        capacity = self.status.capacity
        return capacity is None or queue_length + self.counted(answers) <= capacity
