"""Batch run: one batch from wherever it is to its end, its lines asked many at once."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from llava_serve.background import background
from llava_serve.cluster.batches.batch import Batch, Status
from llava_serve.cluster.batches.batch_input import BatchLine, LineCheck, read_requests
from llava_serve.cluster.batches.batch_results import RESULTS, BatchResults
from llava_serve.cluster.batches.batch_store import BatchFolder
from llava_serve.cluster.batches.line_asking import BatchContext, LineAsking
from llava_serve.errors import KeyRefused, ModelNotAllowed, ModelNotFound, ServeError, StorageFailed
from llava_serve.http import serving
from llava_serve.http.caller import Caller

logger = logging.getLogger(__name__)

_LOOK_S = 0.25  # at a batch that runs: whether it is to end, and how far it is
_UNASKED = {
    "cancelled": ("batch_cancelled", "the batch was cancelled before this line was answered"),
    "expired": ("batch_expired", "the batch's window ended before this line was answered"),
    "failed": ("invalid_api_key", "the key of the batch was refused before this line was answered"),
}


class BatchRun:
    """Whoever runs it holds the lock of its folder. Raises: StorageFailed."""

    def __init__(
        self, context: BatchContext, folder: BatchFolder, batch: Batch, *, is_new: bool
    ) -> None:
        """A model that nobody serves is an error of one that `is_new`; else it may come back."""
        self._context = context
        self._folder = folder
        self._batch = batch
        self._is_new = is_new
        self._over = asyncio.Event()  # nothing more is to be asked
        self._writing = threading.Lock()

    async def run(self) -> None:
        """Run it to its end."""
        if self._batch.status == "validating":
            await self._validate()
        if not self._batch.has_ended:
            await self._answer()

    async def _put(self, batch: Batch) -> None:
        self._batch = batch
        await asyncio.to_thread(self._write)

    def _write(self) -> None:
        with self._writing:  # the latest, whichever thread comes last
            self._folder.write(self._batch)

    async def _validate(self) -> None:
        """Check all lines; without an error, the batch is in progress."""
        batch, context = self._batch, self._context
        try:
            caller = await self._known_caller()
        except KeyRefused as exc:
            await self._fail([_as_error(exc)])
            return
        if caller is None:
            return
        check = LineCheck(
            batch.endpoint,
            self._check_model(caller),
            context.most_line_bytes,
            keeps_responses=context.keeps_responses,
        )
        validated = await asyncio.to_thread(check.validate, self._folder.input)
        if validated.errors:
            await self._fail(validated.errors)
        else:
            now = context.clock()
            await self._put(batch.at("in_progress", now, total=validated.total))

    async def _known_caller(self) -> Caller | None:
        """Return for whom the batch asks, once the keys can be read; None: it ended before.

        Raises:
            KeyRefused: the key was revoked, or has expired.
        """
        while (caller := self._context.caller(self._batch.caller)) is None:
            now = self._context.clock()
            is_cancelled = await asyncio.to_thread(self._folder.cancel_asked_at) is not None
            if is_cancelled or now >= self._batch.expires_at:
                await self._put(self._batch.at("cancelled" if is_cancelled else "expired", now))
                await asyncio.to_thread(self._folder.forget_requests)
                return None
            await asyncio.sleep(_LOOK_S)
        return caller

    async def _fail(self, errors: Any) -> None:
        await self._put(self._batch.at("failed", self._context.clock(), errors=tuple(errors)))
        await asyncio.to_thread(self._folder.forget_requests)

    def _check_model(self, caller: Caller) -> Callable[[str], None]:
        served = self._context.models() if self._is_new else []

        def check(model: str) -> None:
            if not caller.may_ask(model):
                raise ModelNotAllowed(model)
            if served and model not in served:
                raise ModelNotFound(model, [name for name in served if caller.may_ask(name)])

        return check

    async def _answer(self) -> None:
        """Ask what is not done, until that is all or nothing more is to be asked."""
        results = await asyncio.to_thread(BatchResults, self._folder, self._batch.id)
        with closing(results):
            if self._batch.ending is None:
                asking = LineAsking(
                    self._context, self._batch.endpoint, self._batch.caller, results, self._over
                )
                async with background(self._watch(results), "watch-batch"):
                    await asking.ask(read_requests(self._folder.input, results.has))
            if self._batch.ending is None:
                self._end("completed")
            await self._put(self._counted(results))
            await asyncio.to_thread(self._add_unasked, results)
            await self._finish(results)

    async def _watch(self, results: BatchResults) -> None:
        """Tell how far it is, and end it when its time is over or somebody says so."""
        while not self._over.is_set():
            try:
                await self._look(results)
            except StorageFailed as exc:  # the next time is the retry
                serving.log_error(exc)
            await asyncio.sleep(_LOOK_S)

    async def _look(self, results: BatchResults) -> None:
        counted = self._counted(results)
        if counted != self._batch:
            await self._put(counted)
        if await asyncio.to_thread(self._folder.cancel_asked_at) is not None:
            self._end("cancelled")
        elif self._context.clock() >= self._batch.expires_at:
            self._end("expired")
        else:
            try:
                self._context.caller(self._batch.caller)
            except KeyRefused as exc:
                self._end("failed", errors=(_as_error(exc),))

    def _end(self, ending: Status, **changes: Any) -> None:
        """Ask nothing more, and let go of what runs."""
        status: Status = "cancelling" if ending == "cancelled" else "finalizing"
        now = self._context.clock()
        self._batch = self._batch.at(status, now, ending=ending, **changes)
        self._over.set()

    def _counted(self, results: BatchResults) -> Batch:
        counts = results.counts
        return replace(self._batch, completed=counts["output"], failed=counts["errors"])

    def _add_unasked(self, results: BatchResults) -> None:
        if (told := _UNASKED.get(self._batch.ending or "")) is None:
            return
        error = {"code": told[0], "message": told[1]}
        left: Iterator[BatchLine] = read_requests(self._folder.input, results.has)
        for line in left:
            results.add(line.number, line.custom_id, None, error)

    async def _finish(self, results: BatchResults) -> None:
        """Hand the results to the owner, and forget the rest."""
        batch = self._counted(results)
        kept = [name for name in RESULTS if results.counts[name]]
        for name in kept:
            await asyncio.to_thread(self._keep, batch, name)
        ending = batch.ending or "completed"
        await self._put(batch.at(ending, self._context.clock(), results=tuple(kept)))
        await asyncio.to_thread(self._folder.forget_requests)
        counts = f"{batch.completed} of {batch.total} answered"
        logger.info("%s is %s: %s", batch.id, ending, counts)

    def _keep(self, batch: Batch, name: str) -> None:
        with self._folder.results(name).open("rb") as lines:
            self._context.files.keep_results(
                batch.caller.owner,
                lines,
                f"{batch.id}_{name}.jsonl",
                batch.file_id(name),
                batch.results_expiry_s,
            )


def _as_error(error: ServeError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}
