"""A vote counts once, whoever repeats it, and outlives its conversation."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.dialects.postgresql.base import PGDialect

from llava_serve.arena.tally import Tally, Winner
from llava_serve.storage.battle_tables import BattleRow, BattleVoteRow
from llava_serve.storage.battles import Battles, BattleVote, counted
from llava_serve.storage.store import Store, default_url


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(default_url(tmp_path), clock=lambda: 1_700_000_000.0)
    store.create_tables()
    return store


@pytest.fixture
def battles(store: Store) -> Battles:
    return Battles(store)


def people(winner: Winner, lengths: tuple[int, int] = (10, 10)) -> BattleVote:
    return BattleVote(winner=winner, lengths=lengths)


def judged(winner: Winner | None, judge: str = "judge-7b") -> BattleVote:
    return BattleVote(winner=winner, lengths=(10, 10), judge=judge)


def fought(battles: Battles, models: tuple[str, str], *winners: Winner) -> None:
    for winner in winners:
        name = f"{'-'.join(models)}-{sum(battles.met().values())}"
        assert battles.vote(battles.begin(name, models), people(winner))


def test_the_second_vote_on_a_battle_does_not_count(battles: Battles) -> None:
    battle = battles.begin("c1", ("x", "y"))
    assert battles.vote(battle, people("a"))
    assert not battles.vote(battle, people("b"))
    assert battles.tallies() == [Tally("x", "y", wins_a=1)]


def test_of_votes_at_the_same_time_one_counts(battles: Battles) -> None:
    battle = battles.begin("c1", ("x", "y"))
    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(lambda _: battles.vote(battle, people("tie")), range(8)))
    assert sorted(kept) == [False] * 7 + [True]
    assert sum(one.votes for one in battles.tallies()) == 1


def test_votes_are_counted_by_pair_and_kind(battles: Battles) -> None:
    fought(battles, ("x", "y"), "a", "a", "b", "tie", "both_bad")
    fought(battles, ("y", "x"), "a")
    battles.begin("unvoted", ("x", "y"))
    assert battles.tallies() == [Tally("x", "y", 2, 1, 1, 1), Tally("y", "x", 1)]
    assert battles.met() == {frozenset("xy"): 7}


def test_a_tag_of_the_vote_replaces_that_of_the_question(battles: Battles) -> None:
    battles.vote(battles.begin("c1", ("x", "y"), "scene"), people("a"), tag="chart")
    battles.vote(battles.begin("c2", ("x", "y"), "scene"), people("b"))
    assert battles.tallies(tag="chart") == [Tally("x", "y", wins_a=1)]
    assert battles.tallies(tag="scene") == [Tally("x", "y", wins_b=1)]
    assert battles.tallies(tag="counting") == []


def test_a_judge_s_votes_are_kept_apart(battles: Battles) -> None:
    battle = battles.begin("c1", ("x", "y"))
    assert battles.vote(battle, people("a"))
    assert battles.vote(battle, judged("b"))
    assert not battles.vote(battle, judged("a"))
    assert battles.vote(battle, judged("tie", "another judge"))
    assert battles.tallies("people") == [Tally("x", "y", wins_a=1)]
    assert battles.tallies("judge") == [Tally("x", "y", wins_b=1, ties=1)]
    assert battles.tallies("all") == [Tally("x", "y", wins_a=1, wins_b=1, ties=1)]


def test_a_judge_s_failure_is_no_vote_and_can_be_mended(battles: Battles) -> None:
    battle = battles.begin("c1", ("x", "y"))
    assert battles.vote(battle, judged(None))
    assert battles.tallies("all") == []
    before = battles.newest()
    assert battles.vote(battle, judged("b"))
    assert battles.tallies("judge") == [Tally("x", "y", wins_b=1)]
    assert battles.newest() != before


def test_lengths_are_counted_by_the_nearest_tenth(battles: Battles) -> None:
    for number, lengths in enumerate([(60, 40), (602, 398), (0, 0), (1, 3)]):
        battles.vote(battles.begin(f"c{number}", ("x", "y")), people("a", lengths))
    found = {one.length_difference: one.votes for one in battles.tallies(by_length=True)}
    assert found == {0.2: 2, 0.0: 1, -0.5: 1}


def test_each_vote_is_news(battles: Battles) -> None:
    assert battles.newest() == (0, 0)
    seen = {battles.newest()}
    for number in range(3):
        battle = battles.begin(f"c{number}", ("x", "y"))
        assert battles.newest() in seen
        battles.vote(battle, people("a"))
        assert battles.newest() not in seen
        seen.add(battles.newest())


def test_a_vote_outlives_its_conversation(store: Store, battles: Battles) -> None:
    battles.vote(battles.begin("c1", ("x", "y")), people("a"))
    assert store.delete_before(1_800_000_000.0).conversations == 1
    assert battles.tallies() == [Tally("x", "y", wins_a=1)]


def test_the_cost_of_counting_is_one_statement_for_any_number_of_votes(store: Store) -> None:
    battles, statements = Battles(store), list[str]()
    with store.transaction() as session:
        bind = session.get_bind()
        session.add_all(
            BattleRow(id=n, model_a=f"m{n % 3}", model_b=f"m{3 + n % 2}", created_at=0.0)
            for n in range(1, 3001)
        )
        session.flush()
        session.add_all(
            BattleVoteRow(
                battle_id=n, judge="", winner="a", length_a=n % 90, length_b=45, created_at=0.0
            )
            for n in range(1, 3001)
        )

    def count(*called: Sequence[object]) -> None:
        statements.append(str(called[2]))

    event.listen(bind, "before_cursor_execute", count)
    assert len(battles.tallies()) == 6
    assert len(battles.tallies(by_length=True)) <= 6 * 21
    assert len(statements) == 2
    assert all("GROUP BY" in one for one in statements)


def test_postgresql_groups_by_what_it_selects() -> None:
    """It takes a parameter for something else in each place."""
    dialect = PGDialect()  # type: ignore[no-untyped-call]
    statement = str(counted("people", "chart", by_length=True).compile(dialect=dialect))
    selected, _, grouped = statement.partition("GROUP BY")
    grouped = grouped.partition("ORDER BY")[0]
    assert "%(" not in grouped
    assert all(one.strip() in selected for one in re.split(r", (?=battles|round)", grouped))
