"""Request record: what happened to one request on its way through the controller."""

from collections.abc import Callable
from dataclasses import dataclass, field

from llava_serve.http.caller import Caller
from llava_serve.protocol.usage import TokenCounts as TokenCounts


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """Filled in while the request is served, and read once at its end by metrics and audit.

    Times are seconds on the controller's monotonic clock; None is what never came.
    """

    request_id: str
    wire: str
    model: str
    arrived_at: float
    caller: Caller = field(default_factory=Caller)
    is_streamed: bool = True
    has_images: bool = False
    image_sha256: tuple[str, ...] = ()  # of the files as they were sent, where they are audited
    worker: str | None = None  # address of the last one asked
    asked_workers: int = 0
    first_byte_at: float | None = None
    first_text_at: float | None = None
    ended_at: float | None = None
    tokens: TokenCounts | None = None
    outcome: str = "broken_off"  # by a bug, or by a process that stops


# Called once per request, at its end; it must not wait.
RequestObserver = Callable[[RequestRecord], None]
