"""Registered worker: what the controller knows of one, and how loaded it is."""

from dataclasses import dataclass

from llava_serve.cluster.breaker import CLOSED, Breaker, BreakerState
from llava_serve.protocol.cluster import WorkerStatus


@dataclass(frozen=True, slots=True)
class RegisteredWorker:
    """One entry of the registry.

    `in_flight` are answers that this controller asked for and that are still made, counted here;
    `others` are all further ones, as of the last heartbeat.
    """

    address: str
    status: WorkerStatus
    last_seen: float  # seconds on the caller's monotonic clock
    is_legacy: bool = False  # LLaVA's own worker: registered without the token, LLaVA's wire only
    expires: bool = True
    breaker: Breaker = CLOSED
    is_draining: bool = False  # it gets no new requests; what runs there ends
    in_flight: int = 0
    others: int = 0

    @property
    def is_reachable(self) -> bool:
        """Whether requests may go there, as far as failures say."""
        return self.breaker.state is not BreakerState.OPEN

    @property
    def speed(self) -> float:
        """What the worker says of itself, to be weighed against the others."""
        return self.status.speed

    @property
    def queue_length(self) -> int:
        """Answers made and waiting, whoever asked for them."""
        return self.in_flight + self.others

    @property
    def load(self) -> float:
        """Answers made and waiting per unit of speed: lower is better."""
        return self.queue_length / self.status.speed

    def serves(self, model: str, *, native: bool) -> bool:
        """Tell whether a request for `model` can be sent there, on the native wire or LLaVA's."""
        return model in self.status.model_names and not (native and self.is_legacy)
