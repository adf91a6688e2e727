"""What workers say of themselves is small enough to be reckoned with."""

from typing import Any

import pytest
from pydantic import ValidationError

from llava_serve.protocol.cluster import Heartbeat, WorkerStatus


@pytest.mark.parametrize(
    "fields",
    [
        {"queue_length": 10**400},
        {"queue_length": -1},
        {"capacity": 10**400},
        {"capacity": 0},
        {"speed": 0},
        {"speed": float("inf")},
    ],
)
def test_a_number_nothing_can_be_reckoned_with_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WorkerStatus(model_names=["m"], **fields)


def test_so_is_one_in_a_heart_beat() -> None:
    with pytest.raises(ValidationError):
        Heartbeat(worker_name="http://w:1", queue_length=10**400)
