"""The running batch: requests join and leave it between two forward passes."""

import logging
import time
from collections.abc import Callable, Sequence

import torch

from llava_serve import logs
from llava_serve.engines.torch import failures
from llava_serve.engines.torch.decode import Decoder
from llava_serve.engines.torch.features import Encoding
from llava_serve.engines.torch.job import Job, Progress
from llava_serve.engines.torch.prepare import Preparer
from llava_serve.engines.torch.sampling import choose, score, without
from llava_serve.engines.torch.schedule import Schedule, Share
from llava_serve.engines.torch.spans import Grant, Spans
from llava_serve.errors import OutOfMemory, ServeError
from llava_serve.request import Delta

logger = logging.getLogger(__name__)

_ANSWER_AHEAD = 256  # tokens that get their places when an answer starts, and as these run out


class Batch:
    """All requests of an engine, on the engine's thread.

    `device_is_lost` turns True for good once no further request can succeed in this process.
    """

    def __init__(
        self,
        preparer: Preparer,
        decoder: Decoder,
        spans: Spans,
        schedule: Schedule[Job],
        tiles: int,
    ) -> None:
        """Encode at most `tiles` tiles in a step that running answers wait for."""
        self.device_is_lost = False
        self._preparer = preparer
        self._decoder = decoder
        self._spans = spans
        self._schedule = schedule
        self._tiles = tiles

    def __len__(self) -> int:
        return len(self._schedule)

    def add(self, job: Job) -> None:
        self._schedule.add(job)

    def abandon(self, error: ServeError) -> None:
        """End every request with `error`."""
        for job in self._jobs:
            job.put(error)
            job.release()

    def step(self) -> None:
        """Drop who left, admit who waits, and let everyone with a slot advance."""
        for job in self._jobs:
            if job.is_cancelled:
                self._end(job)
        self._make_room()
        self._admit()
        self._read(self._schedule.step())

    def _admit(self) -> None:
        """Give free slots to those who wait longest, as far as the cache has room for them."""
        self._prepare([job for job in self._schedule.candidates() if job.prepared is None])
        for job in self._schedule.candidates():
            if job.prepared is None:
                break
            if self._spans.comes_soon(job.progress.keys):
                continue  # in a moment there is nothing left to read
            if not self._place(job):
                break
            self._schedule.admit(job)

    def _prepare(self, jobs: Sequence[Job]) -> None:
        """Tokenise prompts, and take the pictures of all jobs at once some tiles further."""
        for job in jobs:
            if job.preparation is None:
                self._guarded(job, self._begin)
        self._encode([job for job in jobs if job.pending])
        for job in jobs:
            if job.preparation is not None and not job.pending:
                self._guarded(job, self._start)

    def _begin(self, job: Job) -> None:
        assert job.preprocessed is not None  # it came with the job
        job.preparation = self._preparer.begin(job.preprocessed)
        job.preprocessed = None  # who needs tiles has them now

    def _start(self, job: Job) -> None:
        assert job.preparation is not None  # `_begin` made it
        job.prepared = self._preparer.progress(job.request, job.preparation)
        job.preparation = None

    def _encode(self, jobs: Sequence[Job]) -> None:
        started = time.monotonic()
        go_alone = len(jobs) == 1
        if len(jobs) > 1:
            try:
                self._advance([encoding for job in jobs for encoding in job.pending])
            except BaseException as exc:  # noqa: BLE001 - raised again for the one that causes it
                logger.warning("the pictures of %d requests go alone: %s", len(jobs), exc)
                go_alone = True
        if go_alone:  # behind the handler, where the traceback holds no tensors any more
            for job in jobs:
                self._guarded(job, lambda job: self._advance(job.pending))
        took = time.monotonic() - started
        for job in jobs:
            job.vision_s += took

    def _advance(self, encodings: Sequence[Encoding]) -> None:
        is_alone = not any(job.is_answering for job in self._schedule.running)
        self._preparer.features.advance(encodings, None if is_alone else self._tiles)

    def _place(self, job: Job) -> bool:
        """Give a job its part of the cache; False when it has to wait for room."""
        progress = job.progress
        grant = self._spans.grant(progress.keys, self._reserve(progress))
        if grant is None:
            return False
        self._copy(grant)
        progress.hold(grant.span, grant.reused)
        return True

    def _reserve(self, progress: Progress) -> int:
        """Return how many places to reserve: all tokens so far, and some of what is to come."""
        return len(progress.tokens) + min(progress.answer.remaining, _ANSWER_AHEAD)

    def _copy(self, grant: Grant) -> None:
        if grant.copy_from is not None:
            self._decoder.cache.copy(grant.copy_from, grant.span.start, grant.reused)

    def _make_room(self) -> None:
        """See that every running answer has a place for its next token, the oldest first.

        Where there is none the youngest gives its span back and waits for a slot again.
        """
        for job in list(self._schedule.running):
            while job.progress.span is not None and not job.progress.room:
                grant = self._spans.extend(job.progress.span, self._reserve(job.progress))
                if grant is not None:
                    self._copy(grant)
                    job.progress.move(grant.span)
                    break
                youngest = self._schedule.running[-1]
                logs.request_id.set(youngest.request.request_id)
                logger.info("the KV cache is full: a request starts over when there is room")
                self._give_back(youngest)
                self._schedule.put_back(youngest)

    def _give_back(self, job: Job) -> None:
        if job.prepared is not None and job.prepared.span is not None:
            self._spans.release(job.prepared.span, job.prepared.filled)
            job.prepared.give_back()

    def _read(self, shares: Sequence[Share[Job]]) -> None:
        """Run the model over everyone's share; who has read all of its tokens gets the next one."""
        if not shares:
            return
        due = [i for i, share in enumerate(shares) if share.count == share.job.unread]
        jobs = [shares[i].job for i in due]
        try:
            tokens = self._choose(self._forward(shares)[due], jobs)
        except BaseException as exc:  # noqa: BLE001 - told to the one who caused it
            if len(shares) == 1:
                self._fail(shares[0].job, exc)
                return
            logger.warning("a step of %d requests failed: each goes alone (%s)", len(shares), exc)
            tokens = None
        if tokens is None:  # behind the handler, where the traceback holds no tensors any more
            for share in shares:
                self._read([share])
            return
        for share in shares:
            share.job.progress.advance(share.count)
        for job, token in zip(jobs, tokens, strict=True):
            self._guarded(job, self._emit, token)

    def _forward(self, shares: Sequence[Share[Job]]) -> torch.Tensor:
        segments, embeddings, offset = [], [], 0
        for share in shares:
            progress = share.job.progress
            segments.append(progress.segment(offset, share.count))
            embeddings.append(progress.embeddings(share.count, self._decoder.embed))
            offset += share.count
        return self._decoder.forward(torch.cat(embeddings), segments)

    def _choose(self, logits: torch.Tensor, jobs: Sequence[Job]) -> list[int]:
        if not jobs:
            return []
        choosers = [job.progress.chooser for job in jobs]
        forbidden = [job.progress.answer.forbidden for job in jobs]
        histories = [job.progress.tokens for job in jobs]
        tokens = choose(without(logits, forbidden), choosers, histories)
        for row, token, job in zip(logits, tokens, jobs, strict=True):
            if (top := job.request.sampling.top_logprobs) is not None:
                job.progress.answer.score(token, score(row, token, top))
        return tokens

    def _emit(self, job: Job, token: int) -> None:
        progress, answer = job.progress, job.progress.answer
        if not answer.token_count:
            self._note_first_token(progress)
        progress.tokens.append(token)
        text = answer.push(token)
        if answer.finish_reason is not None:
            logger.info("answered %d tokens: %s", answer.token_count, answer.finish_reason)
            stages = progress.stages(job.arrived_at, job.vision_s)
            logprobs = answer.take_logprobs() if text else ()
            job.put(Delta(text, answer.finish_reason, progress.usage, stages, logprobs=logprobs))
            self._end(job)
        elif text:
            job.put(Delta(text, so_far=progress.usage, logprobs=answer.take_logprobs()))

    @staticmethod
    def _note_first_token(progress: Progress) -> None:
        progress.first_token_at = time.monotonic()
        logger.info(
            "read a prompt of %d tokens: %d of pictures, %d read before",
            len(progress.prompt.tokens),
            progress.prompt.image_tokens,
            progress.cached_tokens,
        )

    def _guarded(self, job: Job, work: Callable[..., None], *values: object) -> None:
        """Run `work` on a job; what it raises ends this job alone, unless the device is lost."""
        logs.request_id.set(job.request.request_id)
        try:
            work(job, *values)
        except BaseException as exc:  # noqa: BLE001 - raised again on the loop; Rust's panics too
            self._fail(job, exc)

    def _fail(self, job: Job, exc: BaseException) -> None:
        logs.request_id.set(job.request.request_id)
        self.device_is_lost = self.device_is_lost or failures.is_sticky(exc)
        error = failures.translate(exc, self._decoder.device)
        job.put(error)
        self._end(job)
        if isinstance(error, OutOfMemory):
            failures.release_memory(self._decoder.device)

    def _end(self, job: Job) -> None:
        self._give_back(job)
        self._schedule.remove(job)
        job.release()

    @property
    def _jobs(self) -> list[Job]:
        return [*self._schedule.running, *self._schedule.waiting]
