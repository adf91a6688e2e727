"""Responses are kept for their owner, for as long as was asked and as much as there is room."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from llava_serve.storage.kept_responses import KeptResponses, ResponseRow
from tests.storage.statements import statements

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


def conversation(kept: KeptResponses, owner: str, response_id: str) -> list[Any] | None:
    trail = kept.trail(owner, response_id, 10**6)
    return None if trail is None else kept.conversation(owner, trail)


def test_a_conversation_is_all_that_went_on_with_each_other(kept: KeptResponses) -> None:
    keep(kept, "1")
    keep(kept, "2", "1")
    keep(kept, "3", "1")
    assert conversation(kept, "a", "3") == ["asked 1", "said 1", "asked 3", "said 3"]
    assert kept.find("a", "2") == {"id": "2", "output": ["said 2"]}


def test_nobody_else_finds_it(kept: KeptResponses) -> None:
    keep(kept, "1")
    assert kept.find("b", "1") is None
    assert conversation(kept, "b", "1") is None
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
    assert conversation(kept, "a", "2") is not None
    clock.now = 3 * DAY_S
    assert kept.find("a", "other") is None
    assert conversation(kept, "a", "2") is not None
    clock.now = 5 * DAY_S
    assert conversation(kept, "a", "2") is None


def test_without_one_before_it_there_is_no_conversation(kept: KeptResponses) -> None:
    keep(kept, "1")
    keep(kept, "2", "1")
    assert kept.delete("a", "1")
    assert not kept.delete("a", "1")
    assert conversation(kept, "a", "2") is None


def test_the_oldest_of_an_owner_make_room(kept: KeptResponses, clock: Clock) -> None:
    keep(kept, "of another", owner="b")
    for i in range(40):
        clock.now = float(i)
        keep(kept, str(i))
    assert kept.find("a", "0") is None
    assert kept.find("a", "39") is not None
    assert kept.find("b", "of another") is not None


def test_what_was_asked_is_read_for_a_conversation_only(kept: KeptResponses) -> None:
    keep(kept, "1")
    keep(kept, "2", "1")
    with statements(kept) as ran:
        trail = kept.trail("a", "2", 10**6)
        kept.find("a", "1")
        kept.sizes("a", ["1", "2"])
        kept.delete("a", "1")
    assert trail is not None
    assert ran
    assert not [statement for statement in ran if "said" in statement]
    with statements(kept) as ran:
        found = kept.find_all("a", ["1", "2"])
    assert (list(found), len(ran)) == (["2"], 1)


def test_a_trail_ends_where_it_is_too_long(kept: KeptResponses) -> None:
    for i in range(9):
        keep(kept, str(i), str(i - 1) if i else None)
    whole = kept.trail("a", "8", 10**6)
    cut = kept.trail("a", "8", 100)
    assert whole is not None
    assert cut is not None
    assert len(whole.ids) == 9
    assert cut.ids == ("8", "7", "6")[: len(cut.ids)]
    assert 100 < cut.size_bytes < whole.size_bytes


def test_what_is_forgotten_meanwhile_is_no_part_of_a_conversation(kept: KeptResponses) -> None:
    keep(kept, "1")
    keep(kept, "2", "1")
    trail = kept.trail("a", "2", 10**6)
    assert trail is not None
    kept.delete("a", "1")
    assert kept.conversation("a", trail) is None


def test_what_fails_takes_no_room(kept: KeptResponses) -> None:
    keep(kept, "1")
    for i in range(2, 40):
        kept.begin("a", str(i), ["x" * 900])
        kept.discard(str(i))
    assert kept.find("a", "1") is not None
    kept.discard("1")  # it is finished
    assert kept.find("a", "1") is not None
    with kept._sessions() as session:
        assert session.scalars(select(ResponseRow.id)).all() == ["1"]


def test_all_owners_together_have_a_limit(kept: KeptResponses, clock: Clock) -> None:
    for i in range(40):
        clock.now = float(i)
        kept.begin(f"owner {i}", str(i), ["x" * 450])
        kept.finish({"id": str(i), "output": []})
    assert kept.find("owner 0", "0") is None
    assert kept.find("owner 39", "39") is not None
    with kept._sessions() as session:
        total = session.scalar(select(func.sum(ResponseRow.size_bytes)))
    assert total is not None
    assert 9_000 < total <= 10_000


def test_what_has_expired_is_swept(kept: KeptResponses, clock: Clock) -> None:
    for i in range(50):
        keep(kept, f"early {i}", owner=f"owner {i}")
    kept.begin("a", "unfinished", ["asked"])
    clock.now = DAY_S
    keep(kept, "late")
    kept.begin("a", "begun", ["asked"])
    clock.now = 2 * DAY_S
    kept.begin("a", "another", ["asked"])
    kept.discard("begun")
    kept.sweep()
    with kept._sessions() as session:
        assert set(session.scalars(select(ResponseRow.id))) == {"late", "another"}


def test_a_sweep_leaves_no_more_than_the_limit_of_all(
    kept: KeptResponses, clock: Clock, tmp_path: Path
) -> None:
    for i in range(30):
        keep(kept, str(i), owner=f"owner {i}")
    less = KeptResponses(f"sqlite:///{tmp_path / 'r.sqlite'}", 2.0, most_bytes=10, clock=clock)
    less.sweep()
    less.close()
    with kept._sessions() as session:
        assert (session.scalar(select(func.sum(ResponseRow.size_bytes))) or 0) <= 100
