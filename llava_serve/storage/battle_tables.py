"""Tables of the arena: battles of two models without names, and the votes on them."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from llava_serve.storage.tables import Table

PEOPLE = ""  # in place of a judge's name
LONGEST_NAME = 255  # of a model, in characters


class BattleRow(Table):
    """Two models that answer the same questions, A on the left.

    It outlives its conversation: a vote counts on after what was said is deleted.
    """

    __tablename__ = "battles"

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[str | None] = mapped_column(ForeignKey("conversations.id"), unique=True)
    model_a: Mapped[str] = mapped_column(String(LONGEST_NAME))
    model_b: Mapped[str] = mapped_column(String(LONGEST_NAME))
    tag: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[float]
    votes: Mapped[list["BattleVoteRow"]] = relationship(order_by="BattleVoteRow.id")


class BattleVoteRow(Table):
    """What people, or a judge model by its name in `judge`, found better; once for each of them.

    `winner` is `a`, `b`, `tie` or `both_bad`; None where the judge failed, with why in `details`.
    The lengths are those of all answers of a side, in characters.
    """

    __tablename__ = "battle_votes"
    # No id is used again: the newest one tells whether there are votes that were not counted yet.
    __table_args__ = (UniqueConstraint("battle_id", "judge"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    battle_id: Mapped[int] = mapped_column(ForeignKey("battles.id"))
    judge: Mapped[str] = mapped_column(String(LONGEST_NAME))
    winner: Mapped[str | None] = mapped_column(String(16))
    length_a: Mapped[int]
    length_b: Mapped[int]
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[float]
