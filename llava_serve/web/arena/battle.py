"""Battle: which two models answer in a conversation, and how people voted on it."""

from dataclasses import dataclass

from llava_serve.arena.tally import Winner
from llava_serve.storage.battles import Battles
from llava_serve.storage.store import Store


@dataclass
class Battle:
    """Until there is a `winner` nothing that leaves the server may tell who `models` are."""

    id: int
    models: tuple[str, str]
    winner: Winner | None = None


def battle_of(store: Store, conversation_id: str) -> Battle | None:
    """Return the battle of a conversation from the database. It blocks."""
    found = Battles(store).of(conversation_id)
    if found is None:
        return None
    row, winner = found
    return Battle(row.id, (row.model_a, row.model_b), winner)


def has_vote(store: Store, conversation_id: str) -> bool:
    """Tell whether people have voted on the battle of a conversation. It blocks."""
    battle = battle_of(store, conversation_id)
    return battle is not None and battle.winner is not None
