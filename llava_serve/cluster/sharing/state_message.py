"""Messages in the shared state: what one controller tells the others of a worker and of itself."""

from typing import Any, Literal, Self, get_type_hints

from pydantic import BaseModel, JsonValue, NonNegativeInt, TypeAdapter

from llava_serve.cluster.registry.registered_worker import SHARED, RegisteredWorker
from llava_serve.protocol.cluster import Count, WorkerName, WorkerStatus

Marks = dict[str, JsonValue]
"""The fields of a worker that are the same at every controller, as JSON."""

_MARKS = {
    name: TypeAdapter[Any](hint)
    for name, hint in get_type_hints(RegisteredWorker, include_extras=True).items()
    if SHARED in getattr(hint, "__metadata__", ())
}


class StateMessage(BaseModel):
    """What every message has; one of another version is not read."""

    version: Literal[1] = 1


class ControllerMessage(StateMessage):
    """How many answers a controller waits for, by the address of the worker.

    By the id of an API key, what runs for it: answers, and the tokens they are expected to take.
    """

    in_flight: dict[str, Count] = {}
    key_answers: dict[str, NonNegativeInt] = {}
    key_tokens: dict[str, NonNegativeInt] = {}


class WorkerMessage(StateMessage):
    """What a controller knows of a worker after something happened to it.

    `silent_s` is how long before that it was last heard of, and `marks_age_s` how long before that
    a mark was last set; None: never.
    """

    address: WorkerName
    status: WorkerStatus | None = None  # None: it has left
    silent_s: float = 0.0
    is_legacy: bool = False
    expires: bool = True
    is_reachable: bool = True
    marks: Marks = {}
    marks_age_s: float | None = None

    @classmethod
    def of(cls, worker: RegisteredWorker, at: float, marked_at: float | None) -> Self:
        """Describe an entry to which something happened at `at`."""
        return cls(
            address=worker.address,
            status=worker.status.model_copy(update={"queue_length": worker.queue_length}),
            silent_s=max(at - worker.last_seen, 0),
            is_legacy=worker.is_legacy,
            expires=worker.expires,
            is_reachable=worker.is_reachable,
            marks=marks_of(worker),
            marks_age_s=None if marked_at is None else max(at - marked_at, 0),
        )

    def worker(self, at: float) -> RegisteredWorker | None:
        """Return the entry of a message that was written at `at`; None of a worker that has left.

        Raises:
            ValidationError: a mark has a value that it cannot have.
        """
        if self.status is None:
            return None
        return RegisteredWorker(
            self.address,
            self.status,
            last_seen=at - self.silent_s,
            is_legacy=self.is_legacy,
            expires=self.expires,
            reports_here=False,
            **marked_fields(self.marks),
        )

    def marked_at(self, at: float) -> float | None:
        """Return when the last mark was set, of a message that was written at `at`."""
        return None if self.marks_age_s is None else at - self.marks_age_s


def marks_of(worker: RegisteredWorker) -> Marks:
    """Return the marks of a worker."""
    return {
        name: kind.dump_python(getattr(worker, name), mode="json") for name, kind in _MARKS.items()
    }


def marked_fields(marks: Marks) -> dict[str, Any]:
    """Return the fields that marks stand for; those of a later version are left out.

    Raises:
        ValidationError: a mark has a value that it cannot have.
    """
    return {
        name: _MARKS[name].validate_python(value) for name, value in marks.items() if name in _MARKS
    }
