"""Forward request: what a controller knows of a request to pass on, and what all of them share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llava_serve.accounts.accounts import Accounts
from llava_serve.cluster.files.file_store import FileStore
from llava_serve.cluster.forwarding.retry_budget import RetryBudget
from llava_serve.cluster.health.canary import Canary
from llava_serve.cluster.health.prober import Prober
from llava_serve.cluster.recording.failure_log import FailureLog
from llava_serve.cluster.recording.metrics import ControllerMetrics
from llava_serve.cluster.recording.request_record import RequestObserver
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.upstream.upstream import Upstream
from llava_serve.cluster.upstream.wire import Wire
from llava_serve.cluster.waiting.line import Line
from llava_serve.errors import Unavailable
from llava_serve.quota import Quota
from llava_serve.storage.kept_responses import KeptResponses


@dataclass(frozen=True, slots=True)
class ForwardContext:
    """What all requests of one controller share.

    `kept_bytes` are those of bodies that are kept to go on with at another worker, for as long as
    their answers run; None where nothing is to go on.
    """

    workers: Registry
    upstream: Upstream
    prober: Prober
    canary: Canary
    line: Line
    metrics: ControllerMetrics
    name: str  # unlike any other controller's
    clock: Callable[[], float]
    budget: RetryBudget
    failures: FailureLog
    kept_bytes: Quota | None = None
    accounts: Accounts | None = None  # None where no key is asked for, and nothing audited
    files: FileStore | None = None  # None where none are kept
    observers: tuple[RequestObserver, ...] = ()  # of each request's end
    responses: KeptResponses | None = None  # None: none is kept

    @property
    def is_audited(self) -> bool:
        return self.accounts is not None and self.accounts.audit is not None

    def may_return(self, fingerprint: str | None) -> bool:
        """Tell whether a worker that can go on with the answers of another may be asked again."""
        now = self.clock()
        return any(
            worker.fingerprint == fingerprint
            and not worker.is_draining
            and not self.workers.lease_expired(worker, now)
            for worker in self.workers.known()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardRequest:
    """One request to pass on, which asks for so many `answers`.

    `via` is the request's `Via` header, the controllers it came through; `first_byte_s` is how long
    the workers together may take to begin the answer, or to finish it where it is not streamed;
    `cost` is the tokens it will probably take; `prompt` is that of LLaVA's wire. A worker can go on
    with the answer of another one where it `is_resumable`. A caller that `counts_tokens`, as
    another controller does, is passed the usage marks of the worker; all others are not.
    """

    wire: Wire
    model: str
    via: str | None
    first_byte_s: float
    is_streamed: bool = True
    is_resumable: bool = False
    has_images: bool = False  # or videos
    affinity: tuple[int, ...] = ()
    answers: int = 1
    cost: float = 1.0
    prompt: str = ""
    counts_tokens: bool = False
    image_sha256: tuple[str, ...] = ()
    client_fields: Mapping[str, Any] = field(default_factory=dict)

    def check_via(self, name: str) -> None:
        """Raises: Unavailable, when it has come through the controller `name` already."""
        if name in (self.via or ""):
            raise Unavailable(
                "the request came back to the controller that forwarded it: controllers are "
                "registered with each other in a circle"
            )
