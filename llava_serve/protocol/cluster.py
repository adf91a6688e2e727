"""Cluster messages between workers and their controller: registration, heartbeat, status.

The bodies are LLaVA's own with further optional fields, so its workers and ours can share a
controller. Source: haotian-liu/LLaVA@c121f04, llava/serve/controller.py and model_worker.py.
"""

from typing import Annotated

from pydantic import BaseModel, Field

from llava_serve.protocol.openai import ModelCard

Count = Annotated[int, Field(ge=0, le=10**9)]  # small enough to be divided by a speed


class WorkerStatus(BaseModel):
    """What a worker says of itself.

    `speed` weighs workers against each other; `queue_length` counts answers that are made or
    wait. LLaVA's workers send the first three fields only: no `worker_id` and no `cards`.
    """

    model_names: Annotated[list[str], Field(min_length=1)]
    speed: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    queue_length: Count = 0
    worker_id: str | None = None  # new for each process: proves that an address is who it says
    capacity: Annotated[Count, Field(ge=1)] | None = None  # answers made at once
    cards: list[ModelCard] = []


class Registration(BaseModel):
    """`worker_name` is the worker's advertised address, `http://host:port`."""

    worker_name: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+/?$")]
    check_heart_beat: bool = True
    worker_status: WorkerStatus | None = None


class Deregistration(BaseModel):
    worker_name: str


class Heartbeat(BaseModel):
    worker_name: str
    queue_length: Count


class HeartbeatAnswer(BaseModel):
    """`exist` false tells the worker to register again."""

    exist: bool
