"""The engine thread: requests queue for slots, running ones advance in turn, one token a step."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable

from PIL import Image

from llava_serve import logs
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.base import Conversation, Delta, GenerateRequest, Message, Sampling, Usage
from llava_serve.engines.torch import failures
from llava_serve.engines.torch.answer import Answer
from llava_serve.engines.torch.decode import Decoder
from llava_serve.engines.torch.features import Features
from llava_serve.engines.torch.job import Job, Progress
from llava_serve.engines.torch.prompt import splice
from llava_serve.engines.torch.sampling import Chooser, choose
from llava_serve.engines.torch.slots import Slots
from llava_serve.engines.torch.tokens import PromptTokenizer
from llava_serve.errors import ContextOverflow, EngineFailure, OutOfMemory, ShuttingDown
from llava_serve.media.base import Picture

logger = logging.getLogger(__name__)

_WARM_UP_SIZE = (64, 48)  # (width, height): not square, so that anyres tiles it


class TorchEngine:
    """Answers requests with one checkpoint in this process.

    All model work happens on one thread. `healthy` turns False for good when the device is lost:
    every request fails from then on, and the process should be restarted.
    """

    def __init__(self, loaded: LoadedModel, slots: int = 1) -> None:
        """Start the thread after one warm-up request, so that the first user does not pay for it.

        Raises:
            ServeError: the model cannot answer even that, as when memory is short.
        """
        self.card = loaded.card
        self.healthy = True
        self._loaded = loaded
        self._tokenizer = PromptTokenizer(loaded)
        self._features = Features(loaded)
        self._decoder = Decoder(loaded.model)
        self._slots: Slots[Job] = Slots(slots)
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closing = False
        self._warm_up()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        """Yield deltas; see `Engine.stream`."""
        if not self.healthy:
            raise EngineFailure("the device of this worker failed; it must be restarted")
        if self._closing:
            raise ShuttingDown
        job = Job(request, asyncio.get_running_loop())
        self._inbox.put(job)
        try:
            while True:
                delta = await job.next()
                yield delta
                if delta.finish_reason is not None:
                    return
        finally:
            await job.cancel()

    def close(self) -> None:
        """Stop the thread; streams that are open all the same end with `ShuttingDown`."""
        self._closing = True
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while self._collect():
            self._step()
        for job in [*self._slots.running, *self._slots.waiting]:
            job.put(ShuttingDown())
            self._end(job)

    def _collect(self) -> bool:
        """Take in what arrived; wait for it when idle. False ends the thread."""
        while True:
            try:
                job = self._inbox.get(block=not self._slots)
            except queue.Empty:
                return True
            if job is None:
                return False
            self._slots.add(job)

    def _step(self) -> None:
        """Drop who left, fill the slots, and advance every running request by one token."""
        for job in [*self._slots.running, *self._slots.waiting]:
            if job.is_cancelled:
                self._end(job)
        for job in self._slots.admit():
            self._guarded(job, self._prefill)
        for job in list(self._slots.running):
            self._guarded(job, self._advance)

    def _guarded(self, job: Job, work: Callable[[Job], None]) -> None:
        """Run `work`; what it raises ends this job alone, unless the device is lost."""
        logs.request_id.set(job.request.request_id)
        device = self._loaded.model.device
        try:
            work(job)
            return
        except BaseException as exc:  # noqa: BLE001 - raised again on the loop; Rust's panics too
            self.healthy = self.healthy and not failures.is_sticky(exc)
            error = failures.translate(exc, device)
        # Behind the handler, where the traceback holds no tensors any more.
        job.put(error)
        self._end(job)
        if isinstance(error, OutOfMemory):
            failures.release_memory(device)

    def _prefill(self, job: Job) -> None:
        """Read the prompt and choose the first token."""
        started = time.monotonic()
        sampling = job.request.sampling
        items = self._tokenizer.tokenize(job.request.prompt)
        rows = self._features.encode([item for item in items if not isinstance(item, int)])
        prompt = splice(self._loaded, items, rows)
        limit = self._limit(len(prompt.tokens), sampling)
        sequence, logits = self._decoder.prefill(prompt)
        answer = Answer(
            self._loaded.tokenizer,
            sampling,
            self._loaded.stop_ids,
            self._loaded.format.stops,
            limit,
        )
        chooser = Chooser.of(sampling)
        (token,) = choose(logits, [chooser], [sequence.tokens])
        job.progress = Progress(sequence, chooser, answer, len(prompt.tokens), prompt.image_tokens)
        logger.info(
            "prompt of %d tokens, %d of them pictures, read in %.2f s",
            len(prompt.tokens),
            prompt.image_tokens,
            time.monotonic() - started,
        )
        self._emit(job, job.progress, token)

    def _advance(self, job: Job) -> None:
        """Choose one more token."""
        progress = job.progress
        assert progress is not None  # who runs was prefilled, or has ended
        logits = self._decoder.step(progress.sequence)
        (token,) = choose(logits, [progress.chooser], [progress.sequence.tokens])
        self._emit(job, progress, token)

    def _emit(self, job: Job, progress: Progress, token: int) -> None:
        progress.sequence.append(token)
        answer = progress.answer
        text = answer.push(token)
        if answer.finish_reason is not None:
            usage = Usage(progress.prompt_tokens, answer.token_count, progress.image_tokens)
            logger.info("answered %d tokens: %s", answer.token_count, answer.finish_reason)
            job.put(Delta(text, answer.finish_reason, usage))
            self._end(job)
        elif text:
            job.put(Delta(text))

    def _end(self, job: Job) -> None:
        self._slots.remove(job)
        job.release()

    def _limit(self, prompt_tokens: int, sampling: Sampling) -> int:
        """Return how many tokens the answer may have.

        Raises:
            ContextOverflow: the context does not hold prompt and answer.
        """
        context = self._loaded.context_length
        left = context - prompt_tokens
        limit = left if sampling.max_new_tokens is None else sampling.max_new_tokens
        if limit > left or left < 1:
            raise ContextOverflow(prompt_tokens, max(limit, 1), context)
        return limit

    def _warm_up(self) -> None:
        started = time.monotonic()
        picture = Picture(Image.new("RGB", _WARM_UP_SIZE), sha256="")
        request = Conversation((Message("user", (picture, "Hello")),))
        try:
            items = self._tokenizer.tokenize(request)
            prompt = splice(self._loaded, items, self._features.encode([picture]))
            sequence, logits = self._decoder.prefill(prompt)
            sequence.append(int(logits.argmax()))
            self._decoder.step(sequence)
        except RuntimeError as exc:
            raise failures.translate(exc, self._loaded.model.device) from exc
        logger.info("warmed up in %.1f s", time.monotonic() - started)
