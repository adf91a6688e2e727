"""Request record: what happened to one request on its way through the controller."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of one request, as its worker counted them."""

    prompt_tokens: int
    completion_tokens: int
    image_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """Filled in while the request is served, and read once at its end by metrics and audit.

    Times are seconds on the controller's monotonic clock; None is what never came.
    """

    request_id: str
    wire: str
    model: str
    arrived_at: float
    is_streamed: bool = True
    has_images: bool = False
    worker: str | None = None  # address of the last one asked
    asked_workers: int = 0
    dispatched_at: float | None = None  # when the first worker was chosen
    first_byte_at: float | None = None
    first_text_at: float | None = None
    ended_at: float | None = None
    tokens: TokenCounts | None = None
    outcome: str = "broken_off"  # by a bug, or by a process that stops


# Called once per request, at its end; it must not wait.
RequestObserver = Callable[[RequestRecord], None]
