"""Battles of the arena in the database: begun, voted on once, and counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlalchemy.types import Float, Integer

from llava_serve.arena.tally import WINNERS, Tally, Winner
from llava_serve.errors import StorageFailed
from llava_serve.storage.battle_tables import PEOPLE, BattleRow, BattleVoteRow
from llava_serve.storage.identity import NOBODY, Identity
from llava_serve.storage.store import Store
from llava_serve.storage.tables import ConversationRow

ARENA = "arena"  # the kind of a battle's conversation
Voters = Literal["people", "judge", "all"]
_LENGTHS = 10  # a difference of lengths is counted by the nearest tenth


@dataclass(frozen=True, kw_only=True)
class BattleVote:
    """A vote to be kept; without a winner the judge has failed."""

    winner: Winner | None
    lengths: tuple[int, int]
    judge: str = PEOPLE
    details: dict[str, Any] = field(default_factory=dict)


class Battles:
    """Every method blocks: call it off the event loop. Every one may raise StorageFailed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(
        self,
        conversation_id: str,
        models: tuple[str, str],
        tag: str | None = None,
        whose: Identity = NOBODY,
    ) -> int:
        """Write down that two models meet in a conversation, which begins with it; return an id."""
        model_a, model_b = models
        self._store.add_turns(conversation_id, ARENA, [], whose)
        row = BattleRow(
            conversation_id=conversation_id,
            model_a=model_a,
            model_b=model_b,
            tag=tag,
            created_at=self._store.now(),
        )
        with self._store.transaction() as session:
            session.add(row)
            session.flush()
            return row.id

    def withdraw(self, battle_id: int) -> None:
        """Remove a battle that was never asked anything, with its conversation."""
        with self._store.transaction() as session:
            conversation = BattleRow.conversation_id
            begun = session.scalar(select(conversation).where(BattleRow.id == battle_id))
            session.execute(delete(BattleRow).where(BattleRow.id == battle_id))
            session.execute(delete(ConversationRow).where(ConversationRow.id == begun))

    def of(self, conversation_id: str) -> tuple[BattleRow, Winner | None] | None:
        """Return the battle of a conversation with the winner that people named, if they have."""
        of_people = and_(BattleVoteRow.battle_id == BattleRow.id, BattleVoteRow.judge == PEOPLE)
        wanted = (
            select(BattleRow, BattleVoteRow.winner)
            .outerjoin(BattleVoteRow, of_people)
            .where(BattleRow.conversation_id == conversation_id)
        )
        with self._store.transaction() as session:
            found = session.execute(wanted).one_or_none()
            session.expunge_all()
        if found is None:
            return None
        row, winner = found
        return row, next((known for known in WINNERS if known == winner), None)

    def vote(self, battle_id: int, vote: BattleVote, tag: str | None = None) -> bool:
        """Keep a vote; False says that there is one already, which stays.

        A judge's failure is no vote: a later attempt replaces it. `tag` replaces that of the
        battle, if there is one.
        """
        row = BattleVoteRow(
            battle_id=battle_id,
            judge=vote.judge,
            winner=vote.winner,
            length_a=vote.lengths[0],
            length_b=vote.lengths[1],
            details=vote.details,
            created_at=self._store.now(),
        )
        failed = delete(BattleVoteRow).where(
            BattleVoteRow.battle_id == battle_id,
            BattleVoteRow.judge == vote.judge,
            BattleVoteRow.winner.is_(None),
        )
        try:
            with self._store.transaction() as session:
                session.execute(failed)
                session.add(row)
                if tag is not None:
                    of_battle = update(BattleRow).where(BattleRow.id == battle_id)
                    session.execute(of_battle.values(tag=tag))
        except StorageFailed as exc:
            if isinstance(exc.__cause__, IntegrityError):  # another tab or process was faster
                return False
            raise
        return True

    def met(self) -> Counter[frozenset[str]]:
        """Return how many battles each two models had, with votes or without."""
        by_pair = select(BattleRow.model_a, BattleRow.model_b, func.count()).group_by(
            BattleRow.model_a, BattleRow.model_b
        )
        counts: Counter[frozenset[str]] = Counter()
        with self._store.transaction() as session:
            for model_a, model_b, count in session.execute(by_pair):
                counts[frozenset((model_a, model_b))] += count
        return counts

    def newest(self) -> tuple[int, int]:
        """Return what changes when there are other votes to count."""
        of_all = select(func.count(BattleVoteRow.id), func.max(BattleVoteRow.id))
        with self._store.transaction() as session:
            count, newest = session.execute(of_all).one()
        return count, newest or 0

    def unjudged(self, judge: str) -> list[BattleRow]:
        """Return the battles that a judge has no vote on, the oldest first.

        Those whose conversations were deleted are not among them.
        """
        judged = select(BattleVoteRow.id).where(
            BattleVoteRow.battle_id == BattleRow.id,
            BattleVoteRow.judge == judge,
            BattleVoteRow.winner.is_not(None),
        )
        wanted = select(BattleRow).where(BattleRow.conversation_id.is_not(None), ~judged.exists())
        with self._store.transaction() as session:
            rows = list(session.scalars(wanted.order_by(BattleRow.id)))
            session.expunge_all()
        return rows

    def judged_by_both(self, judge: str) -> Counter[tuple[str, str]]:
        """Count the battles that people and a judge voted on, by the winners that they named."""
        people, judged = aliased(BattleVoteRow), aliased(BattleVoteRow)
        wanted = (
            select(people.winner, judged.winner, func.count())
            .join(judged, judged.battle_id == people.battle_id)
            .where(people.judge == PEOPLE, judged.judge == judge)
            .where(people.winner.is_not(None), judged.winner.is_not(None))
            .group_by(people.winner, judged.winner)
        )
        with self._store.transaction() as session:
            rows = session.execute(wanted).all()
        return Counter({(str(one), str(other)): count for one, other, count in rows})

    def tallies(
        self, voters: Voters = "people", tag: str | None = None, *, by_length: bool = False
    ) -> list[Tally]:
        """Count the votes on each two models, and with `by_length` those of a like difference."""
        with self._store.transaction() as session:
            rows = session.execute(counted(voters, tag, by_length=by_length)).all()
        return [
            Tally(model_a, model_b, in_a, in_b, ties, bad, length_difference=(step or 0) / _LENGTHS)
            for model_a, model_b, step, in_a, in_b, ties, bad in rows
        ]


def counted(voters: Voters, tag: str | None, *, by_length: bool) -> Select[Any]:
    """Return the SELECT of tallies: both models, the step of their lengths, counts by winner."""
    lengths = BattleVoteRow.length_a + BattleVoteRow.length_b
    total = cast(func.nullif(lengths, _sql(0)), Float)
    difference = cast(BattleVoteRow.length_a - BattleVoteRow.length_b, Float)
    # Written out, not bound: PostgreSQL takes no parameter for the same in two places.
    step = func.round(difference * _sql(_LENGTHS) / total) if by_length else _sql(0)
    keys = (BattleRow.model_a, BattleRow.model_b, *([step] if by_length else []))
    return (
        select(
            BattleRow.model_a, BattleRow.model_b, step, *map(_count, ("a", "b", "tie", "both_bad"))
        )
        .join(BattleVoteRow, BattleVoteRow.battle_id == BattleRow.id)
        .where(BattleVoteRow.winner.is_not(None), *_of(voters))
        .where(*([] if tag is None else [BattleRow.tag == tag]))
        .group_by(*keys)
        .order_by(*keys)
    )


def _sql(number: int) -> ColumnElement[int]:
    return literal_column(str(number), Integer)


def _count(winner: str) -> ColumnElement[int]:
    return func.count(case((BattleVoteRow.winner == winner, 1)))


def _of(voters: Voters) -> Sequence[ColumnElement[bool]]:
    if voters == "all":
        return []
    is_people = BattleVoteRow.judge == PEOPLE
    return [is_people if voters == "people" else ~is_people]
