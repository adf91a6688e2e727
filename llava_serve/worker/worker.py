"""The model worker: engine, gate and media together, with its status and its health."""

import time
from collections.abc import Callable
from copy import copy
from functools import cached_property

from llava_serve.engines.base import Engine
from llava_serve.errors import ShuttingDown, Unavailable
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.model_card import ModelCard
from llava_serve.worker.gate import Gate
from llava_serve.worker.metrics import WorkerMetrics


class ModelWorker:
    """One engine that is served; `worker_id` is new for each process."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        media: MediaReader,
        worker_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self.gate = gate
        self.media = media
        self.worker_id = worker_id
        self.clock = clock
        self.started_at = clock()
        self.metrics = WorkerMetrics(gate, engine)

    @cached_property
    def uncounted(self) -> "ModelWorker":
        """The same worker with metrics that nobody sees, for the controller's own checks."""
        other = copy(self)
        other.metrics = WorkerMetrics(self.gate, self.engine)
        return other

    def status(self, card: ModelCard) -> WorkerStatus:
        """Return the status that the controller gets while this worker serves `card`."""
        load = self.gate.load
        return WorkerStatus(
            model_names=[card.id],
            queue_length=load.queue_length,
            worker_id=self.worker_id,
            capacity=load.capacity,
            cards=[card],
            fingerprint=self.engine.fingerprint,
        )

    def check_health(self) -> None:
        """Raises: Unavailable, when new requests cannot be served."""
        if not self.engine.healthy:
            raise Unavailable("the engine failed beyond repair; this worker needs a restart")
        if not self.gate.is_open:
            raise ShuttingDown
        _ = self.engine.card  # raises what keeps it from serving
