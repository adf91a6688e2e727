"""Batch: what is known of one, as it is written down and as its owner is told."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from openai.types import Batch as ToldBatch, BatchError, BatchRequestCounts
from openai.types.batch import Errors

from llava_serve.api_key import ApiKey
from llava_serve.errors import InvalidField
from llava_serve.http.caller import Caller

# fmt: off
Status = Literal[
    "validating", "in_progress", "finalizing", "cancelling",
    "completed", "failed", "cancelled", "expired",
]
# fmt: on
ENDED: tuple[Status, ...] = ("completed", "failed", "cancelled", "expired")
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")

_WINDOW = re.compile(r"([1-9]\d{0,3})([hd])")
_SECONDS = {"h": 3600, "d": 86_400}
_MOST_WINDOW_S = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCaller:
    """For whom a batch asks; of a key only the id is written down."""

    owner: str
    key_id: str | None = None
    is_insider: bool = False
    address: str = ""
    user: str = ""

    @classmethod
    def of(cls, caller: Caller) -> "BatchCaller":
        return cls(
            owner=caller.owner,
            key_id=caller.key.id if caller.key else None,
            is_insider=caller.is_insider,
            address=caller.address,
            user=caller.user,
        )

    def asking(self, key: ApiKey | None) -> Caller:
        """Return the caller of a request, with the key as it is by then."""
        return Caller(
            key=key,
            is_insider=self.is_insider,
            address=self.address,
            user=self.user,
            is_batch=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch; times are seconds since the epoch. The `counts` lag behind the result files.

    `times` are those at which a status was reached, by its name. The ids of result files are known
    from the beginning, and told once there are such files: `results` are their names.
    """

    id: str
    caller: BatchCaller
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    metadata: Mapping[str, str] | None = None
    results_expiry_s: int | None = None
    status: Status = "validating"
    ending: Status | None = None  # to be, once nothing more is asked
    times: Mapping[str, int] = field(default_factory=dict)
    total: int = 0
    completed: int = 0
    failed: int = 0
    errors: tuple[Mapping[str, Any], ...] = ()
    results: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, decoded: Any) -> "Batch":
        """Raises: TypeError, KeyError, where it is none."""
        caller = BatchCaller(**decoded.pop("caller"))
        errors, results = tuple(decoded.pop("errors")), tuple(decoded.pop("results"))
        return cls(caller=caller, errors=errors, results=results, **decoded)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def ended_at(self) -> int | None:
        return self.times.get(self.status) if self.has_ended else None

    def at(self, status: Status, now: float, **changes: Any) -> "Batch":
        """Return it with another status, reached now."""
        return replace(self, status=status, times={**self.times, status: int(now)}, **changes)

    def file_id(self, results: str) -> str:
        """Return the id that the file of these results has, each time that it is asked for."""
        return "file-" + hashlib.sha256(f"{self.id} {results}".encode()).hexdigest()[:32]

    def told(self) -> ToldBatch:
        """Return what its owner is told."""
        reached = self.times.items()
        times = {f"{status}_at": at for status, at in reached if status != "validating"}
        errors = [BatchError(**error) for error in self.errors]
        return ToldBatch.model_validate(
            {
                "id": self.id,
                "object": "batch",
                "endpoint": self.endpoint,
                "input_file_id": self.input_file_id,
                "completion_window": self.completion_window,
                "created_at": self.created_at,
                "expires_at": self.expires_at,
                "metadata": None if self.metadata is None else dict(self.metadata),
                "status": self.status,
                "errors": Errors(data=errors, object="list") if errors else None,
                "output_file_id": self._told_file("output"),
                "error_file_id": self._told_file("errors"),
                "request_counts": BatchRequestCounts(
                    total=self.total, completed=self.completed, failed=self.failed
                ),
                **times,
            }
        )

    def _told_file(self, results: str) -> str | None:
        return self.file_id(results) if results in self.results else None


def window_s(completion_window: str) -> int:
    """Return the seconds of a window as `24h` or `7d`. Raises: InvalidField."""
    found = _WINDOW.fullmatch(completion_window)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= _MOST_WINDOW_S:
        reason = "must be hours or days, such as 24h or 7d, and 30 days at most"
        raise InvalidField("completion_window", reason)
    return seconds
