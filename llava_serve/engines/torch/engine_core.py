"""Engine core: a step encodes images, schedules, runs the model and samples, for all sequences."""

import logging
import time
from collections.abc import Callable

import torch

from llava_serve import logs
from llava_serve.engines.torch import failures
from llava_serve.engines.torch.batch_turns import SHORTER, BatchTurns
from llava_serve.engines.torch.grammar import constrain
from llava_serve.engines.torch.model_runner import ModelRunner
from llava_serve.engines.torch.prompt import PromptProcessor
from llava_serve.engines.torch.sampling import logprobs_of, mask_tokens, sample
from llava_serve.engines.torch.scheduler import ScheduledTokens, Scheduler
from llava_serve.engines.torch.sequence import Sequence, Status
from llava_serve.errors import OutOfMemory, ServeError

logger = logging.getLogger(__name__)


class EngineCore:
    """All sequences of an engine, on the engine's thread.

    `device_is_lost` turns True for good once no further request can succeed in this process.
    """

    def __init__(
        self,
        processor: PromptProcessor,
        runner: ModelRunner,
        scheduler: Scheduler,
        tile_budget: int,
    ) -> None:
        """Encode at most `tile_budget` tiles in a step that decoding sequences wait for."""
        self.device_is_lost = False
        self._processor = processor
        self._runner = runner
        self._scheduler = scheduler
        self._tile_budget = tile_budget
        self._batch_turns = BatchTurns()
        self.wait_s: float | None = None  # for what arrives, until the next step; None: for ever

    def __len__(self) -> int:
        return len(self._scheduler)

    def add(self, sequence: Sequence) -> None:
        self._scheduler.add(sequence)

    def abort(self, error: ServeError) -> None:
        """End every request with `error`."""
        for sequence in self._scheduler.sequences:
            sequence.deltas.put(error)
            sequence.deltas.close()

    def step(self) -> None:
        """Finish what was cancelled, encode images, and let every running sequence advance."""
        for sequence in self._scheduler.sequences:
            if sequence.deltas.is_cancelled:
                self._finish(sequence)
        self.wait_s = 0.0
        match self._batch_turns.is_next(self._scheduler.sequences):
            case None:
                self.wait_s = self._batch_turns.wait_s
            case True:
                self._step_of_batches()
            case False:
                # Others may wait for a slot that a batch has.
                if not self._advance(of_batches=False) and len(self):
                    self._step_of_batches()
        if not len(self):
            self.wait_s = None

    def _step_of_batches(self) -> None:
        started = time.monotonic()
        self._advance(of_batches=True)
        self._batch_turns.count(time.monotonic() - started)

    def _advance(self, *, of_batches: bool) -> bool:
        """Tell whether there was anything to do for the sequences of a kind."""
        has_encoded = self._prepare(self._scheduler.candidates(of_batches=of_batches))
        if has_encoded and of_batches:  # which is enough for one step
            return True
        step = self._scheduler.schedule(of_batches=of_batches)
        self._runner.copy_prefixes(step.allocations)
        self._run(step.tokens)
        return bool(has_encoded or step.tokens)

    def _prepare(self, sequences: list[Sequence]) -> bool:
        """Look up image features, encode some more tiles, and complete prompts that have all.

        Returns whether there were tiles.
        """
        for sequence in sequences:
            if sequence.status is Status.WAITING:
                self._guarded(sequence, self._processor.look_up_features)
        encoded = [sequence for sequence in sequences if sequence.features_left]
        self._encode(encoded)
        for sequence in sequences:
            if sequence.status is Status.ENCODING and not sequence.features_left:
                self._guarded(sequence, self._processor.complete)
        return bool(encoded)

    def _encode(self, sequences: list[Sequence]) -> None:
        started = time.monotonic()
        is_alone = len(sequences) == 1
        if len(sequences) > 1:
            try:
                self._encode_tiles(sequences)
            except BaseException as exc:  # noqa: BLE001 - raised again for the one that causes it
                logger.warning(
                    "images of %d sequences failed, each goes alone: %s", len(sequences), exc
                )
                is_alone = True
        if is_alone:  # behind the handler, where the traceback holds no tensors any more
            for sequence in sequences:
                self._guarded(sequence, lambda each: self._encode_tiles([each]))
        took = time.monotonic() - started
        for sequence in sequences:
            sequence.vision_s += took

    def _encode_tiles(self, sequences: list[Sequence]) -> None:
        features = [left for each in sequences for left in each.features_left]
        most = self._tile_budget if self._scheduler.is_decoding else None
        if sequences[0].request.is_batch:
            most = max(self._tile_budget // SHORTER, 1)
        self._processor.features.encode_tiles(features, most)

    def _run(self, scheduled: list[ScheduledTokens]) -> None:
        """Run the model; a sequence whose tokens are all computed gets the next one."""
        if not scheduled:
            return
        try:
            sampled = self._execute(scheduled)
        except BaseException as exc:  # noqa: BLE001 - told to the one who caused it
            if len(scheduled) == 1:
                self._fail(scheduled[0].sequence, exc)
                return
            logger.warning(
                "a step of %d sequences failed, each runs alone: %s", len(scheduled), exc
            )
        else:
            for each in scheduled:
                each.sequence.advance(each.count)
            for sequence, token in sampled:
                self._guarded(sequence, self._append, token)
            return
        for each in scheduled:  # behind the handler, where the traceback holds no tensors any more
            self._run([each])

    def _execute(self, scheduled: list[ScheduledTokens]) -> list[tuple[Sequence, int]]:
        """Return the sequences that get a token, each with its own."""
        logits = self._runner.execute(scheduled)
        due = [i for i, s in enumerate(scheduled) if s.count == s.sequence.num_uncomputed_tokens]
        sequences = [scheduled[i].sequence for i in due]
        if not sequences:
            return []
        return list(zip(sequences, self._sample(logits[due], sequences), strict=True))

    @staticmethod
    def _sample(logits: torch.Tensor, sequences: list[Sequence]) -> list[int]:
        masked = [each.output.masked_tokens for each in sequences]
        matchers = [each.matcher for each in sequences]
        possible = mask_tokens(
            logits, [() if m else t for m, t in zip(matchers, masked, strict=True)]
        )
        possible = constrain(possible, matchers, masked)
        states = [each.sampler for each in sequences]
        tokens = sample(possible, states, [each.history for each in sequences])
        for row, token, each in zip(logits, tokens, sequences, strict=True):
            if (top := each.request.sampling.top_logprobs) is not None:
                each.output.add_logprobs(token, logprobs_of(row, token, top))
        return tokens

    def _append(self, sequence: Sequence, token: int) -> None:
        if not sequence.output.num_tokens:
            logger.info(
                "prefill %d tokens (%d image, %d cached)",
                len(sequence.prompt.tokens),
                sequence.prompt.image_tokens,
                sequence.num_cached_tokens,
            )
        delta = sequence.append(token)
        if delta is not None:
            sequence.deltas.put(delta)
        if (reason := sequence.output.finish_reason) is not None:
            logger.info("decoded %d tokens: %s", sequence.output.num_tokens, reason)
            self._finish(sequence)

    def _guarded(self, sequence: Sequence, work: Callable[..., None], *values: object) -> None:
        """Run `work` on it; what it raises ends this sequence alone, unless the device is lost."""
        logs.request_id.set(sequence.request.request_id)
        try:
            work(sequence, *values)
        except BaseException as exc:  # noqa: BLE001 - raised again on the loop; Rust's panics too
            self._fail(sequence, exc)

    def _fail(self, sequence: Sequence, exc: BaseException) -> None:
        logs.request_id.set(sequence.request.request_id)
        self.device_is_lost = self.device_is_lost or failures.is_sticky(exc)
        error = failures.translate(exc, self._runner.device)
        sequence.deltas.put(error)
        self._finish(sequence)
        if isinstance(error, OutOfMemory):
            failures.release_memory(self._runner.device)

    def _finish(self, sequence: Sequence) -> None:
        self._scheduler.finish(sequence)
        sequence.deltas.close()
