"""One card stands for all workers of a model."""

from dataclasses import replace

import pytest

from llava_serve.cluster.registry.model_list import cards_of
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from tests.cluster.conftest import status_of


@pytest.mark.parametrize(
    ("each", "together"),
    [
        ([True, False, None], True),
        ([False, None], None),
        ([False, False], False),
        ([None], None),
    ],
)
def test_a_model_sees_if_one_of_its_workers_does(
    each: list[bool | None], together: bool | None
) -> None:
    worker = RegisteredWorker("http://w", status_of("m"), last_seen=0)
    (card,) = cards_of([replace(worker, sees=sees) for sees in each])
    assert card.sees is together


def test_a_model_has_the_slots_of_all_its_workers_that_tell_theirs() -> None:
    status = status_of("m")
    workers = [
        RegisteredWorker(
            f"http://{count}", status.model_copy(update={"capacity": count}), last_seen=0
        )
        for count in (4, 2, None)
    ]
    (card,) = cards_of(workers)
    assert card.slots == 6
    (card,) = cards_of(workers[2:])
    assert card.slots is None
