"""Responses are kept for their owner, for as long as was asked and as much as there is room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llava_serve.storage.kept_responses import KeptResponses

DAY_S = 86_400.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Iterator[KeptResponses]:
    kept = KeptResponses(f"sqlite:///{tmp_path / 'r.sqlite'}", 2.0, most_bytes=1000, clock=clock)
    kept.create_tables()
    yield kept
    kept.close()


def keep(kept: KeptResponses, one: str, previous: str | None = None, owner: str = "a") -> None:
    kept.begin(owner, one, [f"asked {one}"], previous)
    kept.finish({"id": one, "output": [f"said {one}"]})


def test_a_conversation_is_all_that_went_on_with_each_other(kept: KeptResponses) -> None:
    keep(kept, "1")
    keep(kept, "2", "1")
    keep(kept, "3", "1")
    assert kept.conversation("a", "3") == ["asked 1", "said 1", "asked 3", "said 3"]
    assert kept.find("a", "2") == {"id": "2", "output": ["said 2"]}


def test_nobody_else_finds_it(kept: KeptResponses) -> None:
    keep(kept, "1")
    assert kept.find("b", "1") is None
    assert kept.conversation("b", "1") is None
    assert not kept.delete("b", "1")
    assert kept.find("a", "1") is not None


def test_before_it_is_finished_nobody_does(kept: KeptResponses) -> None:
    kept.begin("a", "1", ["asked"])
    assert kept.find("a", "1") is None


def test_it_expires_unless_it_is_gone_on_with(kept: KeptResponses, clock: Clock) -> None:
    keep(kept, "1")
    keep(kept, "2", "1")
    keep(kept, "other")
    clock.now = 1.5 * DAY_S
    assert kept.conversation("a", "2") is not None
    clock.now = 3 * DAY_S
    assert kept.find("a", "other") is None
    assert kept.conversation("a", "2") is not None
    clock.now = 5 * DAY_S
    assert kept.conversation("a", "2") is None


def test_without_one_before_it_there_is_no_conversation(kept: KeptResponses) -> None:
    keep(kept, "1")
    keep(kept, "2", "1")
    assert kept.delete("a", "1")
    assert not kept.delete("a", "1")
    assert kept.conversation("a", "2") is None


def test_the_oldest_of_an_owner_make_room(kept: KeptResponses, clock: Clock) -> None:
    keep(kept, "of another", owner="b")
    for i in range(40):
        clock.now = float(i)
        keep(kept, str(i))
    assert kept.find("a", "0") is None
    assert kept.find("a", "39") is not None
    assert kept.find("b", "of another") is not None
