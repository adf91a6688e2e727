"""The tables: conversations, their turns, the images of a turn, and votes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, Text
from sqlalchemy.ext.orderinglist import ordering_list
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from llava_serve.storage.media import StoredFile


class Table(DeclarativeBase):
    pass


class ConversationRow(Table):
    """`kind` is `chat` or `compare`; times are seconds since the epoch, UTC.

    `owner` is the user who began it; None where nobody had to sign in: then `browser` stands for
    the one it was begun in. `title` is the one a user gave it, `used_at` the time of its last turn.
    """

    __tablename__ = "conversations"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    owner: Mapped[str | None] = mapped_column(String(255), index=True)
    browser: Mapped[str | None] = mapped_column(String(64), index=True)
    title: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[float]
    used_at: Mapped[float | None]
    turns: Mapped[list["TurnRow"]] = relationship(order_by="TurnRow.id")
    votes: Mapped[list["VoteRow"]] = relationship(order_by="VoteRow.id")


class TurnRow(Table):
    """One message. `exchange` joins a question with its answer, or with the answers compared.

    `slot` is the place of an answer among those compared; the rows of older versions have none.
    `details` holds parameters, usage, timings or the error, as JSON.
    `replaced` turns are not shown: another branch is, or a later answer in their place.
    `parent` is what a turn follows: of an answer its question, of a question the one before it.
    The rows of older versions have none: theirs is the last question before them by `exchange`,
    which counts the questions along a branch.
    """

    __tablename__ = "turns"

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"), index=True)
    exchange: Mapped[int]
    slot: Mapped[int | None]
    role: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(String(255))
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    replaced: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float]
    parent_id: Mapped[int | None]  # no key of the database: each deletion would search all turns
    parent: Mapped["TurnRow | None"] = relationship(
        primaryjoin="foreign(TurnRow.parent_id) == remote(TurnRow.id)"
    )
    media: Mapped[list["TurnMediaRow"]] = relationship(
        order_by="TurnMediaRow.position", collection_class=ordering_list("position")
    )


class TurnMediaRow(Table):
    """A file of a turn, in the place that it has there."""

    __tablename__ = "turn_media"

    turn_id: Mapped[int] = mapped_column(ForeignKey("turns.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    extension: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(255))

    @classmethod
    def of(cls, file: StoredFile) -> "TurnMediaRow":
        """Return the row of a file that a turn brings."""
        extension = file.filetype.extension
        return cls(sha256=file.sha256, extension=extension, name=file.name[:255])


class VoteRow(Table):
    """`kind` is up, down or flag on an answer, better on one of those `compared` (with `model`).

    Of the kinds tie and both_bad the turn is the question; withdrawn takes a vote on an answer
    back. Every vote stays; the last one counts, see `counting`.
    """

    __tablename__ = "votes"

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"), index=True)
    turn_id: Mapped[int] = mapped_column(ForeignKey("turns.id"))
    kind: Mapped[str] = mapped_column(String(16))
    model: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[float]
    compared: Mapped[list["ComparedRow"]] = relationship(order_by="ComparedRow.turn_id")


class ComparedRow(Table):
    """An answer that was on the page when a vote of a comparison was given."""

    __tablename__ = "compared"

    vote_id: Mapped[int] = mapped_column(ForeignKey("votes.id"), primary_key=True)
    turn_id: Mapped[int] = mapped_column(ForeignKey("turns.id"), primary_key=True)


class SharedRow(Table):
    """A link by which everybody can read a conversation: the turns that were shown at its making.

    `token` is the secret part of its address.
    """

    __tablename__ = "shared"

    token: Mapped[str] = mapped_column(String(64), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"), index=True)
    turn_ids: Mapped[list[int]] = mapped_column(JSON)
    created_at: Mapped[float]


def counting(votes: Sequence[VoteRow]) -> list[VoteRow]:
    """Return the votes that no later one replaces; `votes` are of one conversation, in order.

    A vote on an answer replaces those on the same answer; a vote of a comparison those on the same
    answers compared.
    """
    last = {_subject(vote): vote for vote in votes}
    return [vote for vote in last.values() if vote.kind != "withdrawn"]


def _subject(vote: VoteRow) -> tuple[int, ...]:
    return tuple(-one.turn_id for one in vote.compared) or (vote.turn_id,)
