"""Conversations as JSON lines: one conversation a line, images by their hash."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from llava_serve.storage.store import Store
from llava_serve.storage.tables import ConversationRow, TurnRow, VoteRow, counting


def lines(store: Store, owner: str | None = None) -> Iterator[str]:
    """Yield one JSON object per conversation, oldest first, each with its line end.

    Given a user, it yields theirs only.
    """
    for conversation in store.conversations(owner):
        yield json.dumps(_conversation(conversation), ensure_ascii=False) + "\n"


def _conversation(row: ConversationRow) -> dict[str, Any]:
    counted = {vote.id for vote in counting(row.votes)}
    return {
        "id": row.id,
        "kind": row.kind,
        "owner": row.owner,
        "created_at": _time(row.created_at),
        "turns": [_turn(turn) for turn in row.turns],
        "votes": [_vote(vote, vote.id in counted) for vote in row.votes],
    }


def _turn(row: TurnRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "parent": row.parent_id,
        "exchange": row.exchange,
        "slot": row.slot,
        "role": row.role,
        "text": row.text,
        "model": row.model,
        "media": [
            {"sha256": media.sha256, "extension": media.extension, "name": media.name}
            for media in row.media
        ],
        "details": row.details,
        "replaced": row.replaced,
        "created_at": _time(row.created_at),
    }


def _vote(row: VoteRow, counts: bool) -> dict[str, Any]:
    return {
        "turn": row.turn_id,
        "kind": row.kind,
        "model": row.model,
        "compared": [compared.turn_id for compared in row.compared],
        "counts": counts,
        "created_at": _time(row.created_at),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
