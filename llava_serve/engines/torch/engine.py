"""The PyTorch engine: what the event loop asks of it, and the thread that does all model work."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.base import EngineStatus
from llava_serve.engines.media_work import MediaWork
from llava_serve.engines.torch import failures
from llava_serve.engines.torch.batch import Batch
from llava_serve.engines.torch.budget import Budget
from llava_serve.engines.torch.decode import Decoder
from llava_serve.engines.torch.features import Features
from llava_serve.engines.torch.inbox import Inbox
from llava_serve.engines.torch.job import Job
from llava_serve.engines.torch.prepare import Preparer
from llava_serve.engines.torch.schedule import Schedule
from llava_serve.engines.torch.spans import Spans
from llava_serve.engines.torch.warm_up import warm_up
from llava_serve.errors import EngineLost, ServeError, ShuttingDown
from llava_serve.request import Delta, GenerateRequest

logger = logging.getLogger(__name__)

_BEYOND_REPAIR = "the engine failed beyond repair; this worker must be restarted"


class TorchEngine:
    """Answers requests with one checkpoint in this process.

    All model work happens on one thread. `healthy` turns False for good when the device is lost
    or the thread fails: every request fails from then on, and the process should be restarted.
    """

    def __init__(self, loaded: LoadedModel, budget: Budget) -> None:
        """Start the thread after one warm-up request, so that the first user does not pay for it.

        Raises:
            ServeError: the model cannot answer even that, as when memory is short.
        """
        self.slots = budget.slots
        self._loaded = loaded
        context = min(loaded.context_length, budget.kv_tokens)
        self.card = loaded.card.model_copy(update={"context_length": context})
        self._features = Features(loaded, budget.feature_bytes)
        preparer = Preparer(loaded, self._features, context)
        self._preprocessing = MediaWork(preparer.preprocess)
        decoder = Decoder(loaded.model, budget.kv_tokens)
        self._spans = Spans(budget.kv_tokens)
        self._inbox = Inbox()
        try:
            pace = warm_up(preparer, decoder, budget.kv_tokens)
        except RuntimeError as exc:
            raise failures.translate(exc, loaded.model.device) from exc
        schedule: Schedule[Job] = Schedule(
            budget.slots, budget.chunk or pace.tokens, budget.chunk_alone
        )
        self._batch = Batch(preparer, decoder, self._spans, schedule, pace.tiles)
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        return not (self._has_failed or self._batch.device_is_lost)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        """Yield deltas; see `Engine.stream`."""
        if not self.healthy:
            raise EngineLost(_BEYOND_REPAIR)
        job = await self._arrived(request)
        self._inbox.put(job)
        try:
            while True:
                delta = await job.next()
                yield delta
                if delta.finish_reason is not None:
                    return
        finally:
            await job.cancel()

    async def _arrived(self, request: GenerateRequest) -> Job:
        """Tokenise and preprocess away from the engine thread, where answers would wait for it."""
        arrived_at = time.monotonic()
        try:
            preprocessed = await self._preprocessing.on(request.prompt)
        except Exception as exc:
            raise failures.translate(exc, self._loaded.model.device) from exc
        loop = asyncio.get_running_loop()
        return Job(request, loop, preprocessed, arrived_at, preprocessed.vision_s)

    def status(self) -> EngineStatus:
        """Return what is held and kept right now; safe to call from any thread."""
        return EngineStatus(
            kv_tokens_total=self._spans.total,
            kv_tokens_held=self._spans.held,
            kv_tokens_cached=self._spans.cached,
            feature_hits=self._features.hits,
            feature_misses=self._features.misses,
            feature_bytes=self._features.kept_bytes,
        )

    def close(self) -> None:
        """Stop the thread; streams that are open all the same end with `ShuttingDown`."""
        self._inbox.close()
        self._thread.join()
        self._preprocessing.close()

    def _run(self) -> None:
        """Work until told to stop; whatever ends the thread ends every stream with it."""
        error: ServeError = ShuttingDown()
        try:
            while (arrived := self._inbox.take(wait=not self._batch)) is not None:
                for job in arrived:
                    self._batch.add(job)
                self._batch.step()
        except BaseException:
            self._has_failed = True
            logger.exception("the engine thread failed")
            error = EngineLost(_BEYOND_REPAIR)
        finally:
            self._inbox.close()
            for job in self._inbox.take(wait=False) or []:
                self._batch.add(job)
            self._batch.abandon(error)
