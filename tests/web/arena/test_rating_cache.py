"""Ratings are computed once for the same votes, and anew for others."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from llava_serve.storage.battles import Battles, BattleVote
from llava_serve.storage.store import Store, default_url
from llava_serve.web.arena.rating_cache import RatingCache


@pytest.fixture
def battles(tmp_path: Path) -> Iterator[Battles]:
    store = Store(default_url(tmp_path))
    store.create_tables()
    yield Battles(store)
    store.close()


def vote(battles: Battles, name: str, judge: str = "") -> None:
    battle = battles.begin(name, ("x", "y"), "chart")
    battles.vote(battle, BattleVote(winner="a", lengths=(3, 4), judge=judge))


async def test_the_same_votes_are_computed_once(battles: Battles) -> None:
    vote(battles, "c1")
    cache = RatingCache(battles)
    boards = await asyncio.gather(*(cache.board("people") for _ in range(5)))
    assert len({id(board) for board in boards}) == 1


async def test_another_vote_is_counted(battles: Battles) -> None:
    vote(battles, "c1")
    cache = RatingCache(battles)
    assert (await cache.board("people")).votes == 1
    vote(battles, "c2")
    assert (await cache.board("people")).votes == 2


async def test_each_question_has_its_own_board(battles: Battles) -> None:
    vote(battles, "c1")
    vote(battles, "c2", judge="judge-7b")
    vote(battles, "c3", judge="judge-7b")
    cache = RatingCache(battles)
    assert [(await cache.board(one)).votes for one in ("people", "judge", "all")] == [1, 2, 3]
    assert (await cache.board("people", "scene")).votes == 0
    assert (await cache.board("people", "chart")).votes == 1
    assert (await cache.board("people", style_control=True)).length_points is not None


async def test_the_loop_goes_on_while_ratings_are_computed(battles: Battles) -> None:
    vote(battles, "c1")
    computing, turns = asyncio.create_task(RatingCache(battles).board("people")), 0
    while not computing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10
