"""Model list of a controller: one card for each model, out of those of its workers."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from llava_serve.cluster.registered_worker import RegisteredWorker
from llava_serve.protocol.openai import ModelCard


def cards_of(workers: Iterable[RegisteredWorker]) -> list[ModelCard]:
    """Return one card for each model of the native wire; the earliest worker's counts.

    A model sees where one of its workers does, and is blind where all of them are.
    """
    cards: dict[str, ModelCard] = {}
    sights: dict[str, set[bool | None]] = defaultdict(set)
    for worker in workers:
        if not worker.is_legacy:
            for card in worker.status.cards:
                cards.setdefault(card.id, card)
                sights[card.id].add(worker.sees)
    return [
        card.model_copy(update={"sees": _sees_of_all(sights[name])})
        for name, card in sorted(cards.items())
    ]


def _sees_of_all(each: Collection[bool | None]) -> bool | None:
    return True if True in each else None if None in each else False
