"""Request record: what happened to one request on its way through the controller."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llava_serve.errors import Interrupted, ServeError
from llava_serve.errors.base import class_of
from llava_serve.http.caller import Caller
from llava_serve.protocol.usage import TokenCounts as TokenCounts

logger = logging.getLogger(__name__)

_NAME_CHARACTERS = 255


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
    expected_tokens: float = 0.0  # by which the line weighs it
    reserved_tokens: int = 0  # of them, what counts against the limits of its key
    image_sha256: tuple[str, ...] = ()  # of the files as they were sent, where they are audited
    client_fields: Mapping[str, Any] = field(default_factory=dict)
    worker: str | None = None  # address of the last one asked
    asked_workers: int = 0
    queue_s: float = 0.0  # waited in line, for all workers together
    resumed: int = 0  # times that another worker went on with the answer
    first_byte_at: float | None = None
    first_text_at: float | None = None
    ended_at: float | None = None
    tokens: TokenCounts | None = None
    outcome: str = "broken_off"  # by a bug, or by a process that stops

    @property
    def shown_model(self) -> str:
        """The model's name as it may be written down: a client may send any text for it."""
        name = self.model[:_NAME_CHARACTERS]
        return name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)


# Called once per request, at its end; it must not wait.
RequestObserver = Callable[[RequestRecord], None]


def log_end(record: RequestRecord) -> None:
    """Write a line of the request's end."""
    took_s = (record.ended_at or record.arrived_at) - record.arrived_at
    worker = record.worker or "no worker"
    logger.info("%s at %s: %s, %.3f s", record.shown_model, worker, record.outcome, took_s)


def outcome_of(error: ServeError) -> str:
    """Return the outcome's name: a code of ours, for a worker may write whatever it likes."""
    if isinstance(error, Interrupted):
        return "broken_off"
    return error.code if class_of(error.code) else "failed"
