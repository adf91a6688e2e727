"""Registered worker: what the controller knows of one, and how loaded it is."""

from dataclasses import dataclass
from typing import Annotated

from llava_serve.cluster.breaker import CLOSED, Breaker, BreakerState
from llava_serve.protocol.cluster import WorkerStatus

# Annotated[bool, SHARED] makes a field one that all controllers of a cluster have one value of, as
# long as the worker's process lives; the value must fit in JSON.
SHARED = "shared"


@dataclass(frozen=True, slots=True)
class RegisteredWorker:
    """One entry of the registry.

    `in_flight` are answers that this controller asked for and that are still made, counted here;
    `elsewhere` are those that other controllers of the cluster count; `others` are all further
    ones, as of the last heartbeat.
    """

    address: str
    status: WorkerStatus
    last_seen: float  # seconds on the caller's monotonic clock
    is_legacy: bool = False  # LLaVA's own worker: registered without the token, LLaVA's wire only
    expires: bool = True
    breaker: Breaker = CLOSED
    # It gets no new requests; what runs there ends.
    is_draining: Annotated[bool, SHARED] = False
    reports_here: bool = True  # and not to another controller of the cluster only
    is_busy: bool = False  # it refused a request, and its slots were not heard of since
    in_flight: int = 0
    elsewhere: int = 0
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
    def speed(self) -> float:
        """What the worker says of itself, to be weighed against the others."""
        return self.status.speed

    @property
    def queue_length(self) -> int:
        """Answers made and waiting, whoever asked for them."""
        return self.in_flight + self.elsewhere + self.others

    @property
    def load(self) -> float:
        """Answers made and waiting per unit of speed: lower is better."""
        return self.queue_length / self.status.speed

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
