"""Cluster messages between workers and their controller: registration, heartbeat, status.

The bodies are LLaVA's own with further optional fields, so its workers and ours can share a
controller. Source: haotian-liu/LLaVA@c121f04, llava/serve/controller.py and model_worker.py.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from llava_serve.protocol.model_card import ModelCard
from llava_serve.protocol.vitals import Vitals

# The address that a worker advertises, `http://host:port`; a slash behind it is no part of it.
WITHOUT_SLASH = AfterValidator(lambda address: address.rstrip("/"))
WorkerName = Annotated[str, WITHOUT_SLASH]
WorkerAddress = Annotated[str, Field(pattern=r"^https?://[^/?#\s]+/?$"), WITHOUT_SLASH]
# Header of a request that the controller makes itself, to see how a worker is: no user's.
CANARY = "X-Llava-Canary"
# Header of a request that nobody waits for: its answer stands back behind others.
BATCH = "X-Llava-Batch"
Count = Annotated[int, Field(ge=0, le=10**9)]  # small enough to be divided by a speed


class WorkerStatus(BaseModel):
    """What a worker says of itself.

    `speed` weighs workers against each other; `queue_length` counts answers that are made or
    wait. Workers of one `fingerprint` answer alike: one can go on with the answer of another.
    LLaVA's workers send the first three fields only: no `worker_id` and no `cards`.
    """

    model_names: Annotated[list[str], Field(min_length=1)]
    speed: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    queue_length: Count = 0
    worker_id: str | None = None  # new for each process: proves that an address is who it says
    capacity: Annotated[Count, Field(ge=1)] | None = None  # answers made at once
    cards: list[ModelCard] = []
    fingerprint: str | None = None


class Registration(BaseModel):
    """What a worker joins with; the controller calls it back at its address."""

    worker_name: WorkerAddress
    check_heart_beat: bool = True
    worker_status: WorkerStatus | None = None
    vitals: Vitals | None = None


class Deregistration(BaseModel):
    """A worker leaves."""

    worker_name: WorkerName


class Heartbeat(BaseModel):
    """A worker lives, and so many answers are made or wait there."""

    worker_name: WorkerName
    queue_length: Count
    vitals: Vitals | None = None


class HeartbeatAnswer(BaseModel):
    """`exist` false tells the worker to register again."""

    exist: bool
