"""Registered worker: what the controller knows of one, and how loaded it is."""

import math
from dataclasses import dataclass

from llava_serve.cluster.sight import NOT_ASKED, Sight
from llava_serve.protocol.cluster import WorkerStatus

# Of what no canary asks: the echo engine never looks, and LLaVA's workers tell no capabilities.
_NEVER_ASKED = "it is not asked: it takes no pictures, or repeats the question, or is LLaVA's own"


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
    is_reachable: bool = True
    in_flight: int = 0
    others: int = 0
    sight: Sight = NOT_ASKED
    checked_by: float = -math.inf  # until then pictures wait for its first check

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

    @property
    def canary_model(self) -> str | None:
        """The model that can be asked whether it sees; None where there is none to ask."""
        cards = self.status.cards if not self.is_legacy else ()
        sighted = (card.id for card in cards if card.accepts_images and card.engine != "echo")
        return next(sighted, None)

    @property
    def sees(self) -> bool | None:
        """Whether its answers follow the pictures; None where nobody knows."""
        return self.sight.sees

    @property
    def why(self) -> str:
        """Why `sees` is as it is, in plain words."""
        return _NEVER_ASKED if self.canary_model is None else self.sight.reason

    def is_same_model(self, other: "RegisteredWorker") -> bool:
        """Tell whether both are one process that serves one and the same model."""
        names = ("worker_id", "model_names")
        return all(getattr(self.status, name) == getattr(other.status, name) for name in names)

    def awaits_canary(self, now: float) -> bool:
        """Tell whether it is held back from pictures until its first check, which is bounded."""
        return self.sees is None and now < self.checked_by

    def serves(self, model: str, *, native: bool) -> bool:
        """Tell whether a request for `model` can be sent there, on the native wire or LLaVA's."""
        return model in self.status.model_names and not (native and self.is_legacy)
