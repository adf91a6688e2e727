"""Model list of a controller: one card for each model, and why there is no worker for one."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from llava_serve.cluster.dispatch import DispatchRequest
from llava_serve.cluster.registered_worker import RegisteredWorker
from llava_serve.errors import InvalidField, ModelNotFound, NoWorker
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


def why_none(
    request: DispatchRequest, workers: Collection[RegisteredWorker], cards: Iterable[ModelCard]
) -> NoWorker | ModelNotFound | InvalidField:
    """Return the error of a request that no worker takes; `cards` are of the models to ask for."""
    model = request.model
    serving = [worker for worker in workers if worker.serves(model, native=False)]
    if request.native and serving and all(worker.is_legacy for worker in serving):
        return InvalidField(
            "model",
            f"{model!r} is served by a worker of LLaVA's own protocol, which answers "
            "POST /worker_generate_stream only",
        )
    if serving or not workers or not request.native:
        return NoWorker(model)
    return ModelNotFound(model, [card.id for card in cards])


def _sees_of_all(each: Collection[bool | None]) -> bool | None:
    return True if True in each else None if None in each else False
