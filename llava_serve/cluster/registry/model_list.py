"""Model list: what the workers of a cluster serve, and why one model is not among it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from llava_serve.cluster.registry.dispatch import DispatchRequest
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.errors import (
    InvalidField,
    ModelNotFound,
    NoWorker,
    OnlyBlindWorkers,
    WorkerUnchecked,
)
from llava_serve.protocol.model_card import ModelCard, NamedModel


def names_of(workers: Iterable[RegisteredWorker]) -> list[str]:
    return sorted({name for worker in workers for name in worker.status.model_names})


def cards_of(alive: Sequence[RegisteredWorker]) -> list[ModelCard]:
    """Return one card for each model of the native wire; the earliest worker's counts.

    A model sees where one of its workers does, and is blind where all of them are.
    """
    cards: dict[str, ModelCard] = {}
    slots: dict[str, int] = defaultdict(int)
    sights: dict[str, set[bool | None]] = defaultdict(set)
    for worker in alive:
        if not worker.is_legacy:
            for card in worker.status.cards:
                cards.setdefault(card.id, card)
                slots[card.id] += worker.status.capacity or 0
                sights[card.id].add(worker.sees)
    return [
        card.model_copy(update={"sees": _sees_of_all(sights[name]), "slots": slots[name] or None})
        for name, card in sorted(cards.items())
    ]


def models_of(alive: Sequence[RegisteredWorker]) -> list[ModelCard | NamedModel]:
    """Return the same, with the models that only LLaVA's own workers serve, sorted by name."""
    cards = cards_of(alive)
    known = {card.id for card in cards}
    named = [NamedModel(id=name) for name in names_of(alive) if name not in known]
    return sorted([*cards, *named], key=lambda model: model.id)


def _sees_of_all(each: Collection[bool | None]) -> bool | None:
    return True if True in each else None if None in each else False


def why_none(
    request: DispatchRequest,
    known: Sequence[RegisteredWorker],
    alive: Sequence[RegisteredWorker],
    now: float,
) -> NoWorker | ModelNotFound | InvalidField:
    """Return the error of a request for which no worker can be asked."""
    model = request.model
    if unseeing := [worker for worker in alive if request.accepts(worker)]:
        return _why_unseen(model, unseeing, now)
    if not request.native:
        return NoWorker(model)
    serving = [worker for worker in known if worker.serves(model, native=False)]
    if serving and all(worker.is_legacy for worker in serving):
        return InvalidField(
            "model",
            f"{model!r} is served by a worker of LLaVA's own protocol, which does nothing but "
            "answer",
        )
    if serving or not known:
        return NoWorker(model)
    return ModelNotFound(model, names_of(alive))


def _why_unseen(model: str, workers: Sequence[RegisteredWorker], now: float) -> NoWorker:
    """Return the error of pictures that none of `workers` takes, which could take text."""
    if any(worker.awaits_canary(now) for worker in workers):
        return WorkerUnchecked(model)
    return OnlyBlindWorkers(model, workers[0].why)
