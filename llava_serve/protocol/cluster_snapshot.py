"""Cluster snapshot: what a controller tells operators of its workers and of failed requests."""

from pydantic import BaseModel

from llava_serve.protocol.vitals import Vitals


class WorkerFailure(BaseModel):
    """A request that failed at a worker; logs have it under its id."""

    code: str
    ago_s: float
    request_id: str


UNHEARD_STATES = ("silent", "unreachable")  # the last figures of a worker are of another time


class WorkerSnapshot(BaseModel):
    """One worker; `vitals` are None where it tells none to this controller.

    `tokens_per_s` and `kv_fraction` are one value for each of its last heartbeats, the newest last.
    """

    id: str
    address: str
    state: str
    breaker: str
    models: list[str]
    engine: str
    slots: int | None
    in_flight: int
    queue_length: int
    sees: bool | None
    sight: str
    last_seen_s: float
    vitals: Vitals | None = None
    tokens_per_s: list[float | None] = []
    kv_fraction: list[float | None] = []
    failures: list[WorkerFailure] = []


class FailureSummary(BaseModel):
    """How many requests of the last hour ended with a code, whose fault that is and what helps."""

    code: str
    count: int
    fault: str
    remedy: str
    ago_s: float


class ClusterSnapshot(BaseModel):
    """The controller itself, the sums of all workers, and as many workers as were asked for.

    `matching` is how many workers the search finds, of which `workers` are the first ones.
    """

    version: str
    uptime_s: float
    log_level: str
    states: dict[str, int]
    slots: int
    queue_length: int
    waiting: dict[str, int]
    tokens_per_s: float
    matching: int
    workers: list[WorkerSnapshot]
    failures: list[FailureSummary]
