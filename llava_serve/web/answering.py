"""The answers that are made at this moment: they belong to the server, whoever watches."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

from llava_serve import logs
from llava_serve.errors import AnswerInterrupted, EngineFailure, ServeError, StillAnswering
from llava_serve.http import serving
from llava_serve.web.conversation import Conversation, Exchange, data_uri, messages
from llava_serve.web.keeping import Keeping
from llava_serve.web.streaming import CONTINUES, Job, Streaming, fill, streaming

if TYPE_CHECKING:
    from llava_serve.web.asking import Services

logger = logging.getLogger(__name__)

# What a stopped answer has used is known from its last piece.
_COUNTED = {"stream_options": {"continuous_usage_stats": True}}
SAVE_S = 2.0  # how much of an answer a crash can lose


class Running:
    """The answers of all browsers; at most `places` questions are answered at once."""

    def __init__(self, places: int = 16) -> None:
        self.places = asyncio.Semaphore(places)
        self._tasks: set[asyncio.Task[None]] = set()
        self._streaming: set[Streaming] = set()

    def start(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def listed(self, one: Streaming) -> AsyncIterator[None]:
        self._streaming.add(one)
        try:
            yield
        finally:
            self._streaming.discard(one)

    async def stop_all(self) -> None:
        """End every answer, and wait until its end is written down: the process is to stop."""
        while self._tasks:
            for one in self._streaming:
                one.stop(AnswerInterrupted())
            await asyncio.wait(self._tasks, timeout=0.1)


class Answering:
    """Fills open answers, in a task of its own, to the end or until they are stopped.

    A browser that leaves changes nothing: how long an answer can be is bounded by its token limit
    and by the context.
    """

    def __init__(self, services: "Services", keeping: Keeping) -> None:
        self._services = services
        self._keeping = keeping

    def start(self, conversation: Conversation) -> None:
        """Begin with the open answers of the last exchange, if there are any."""
        exchange = conversation.last
        if exchange is None or conversation.is_claimed or not exchange.is_open:
            return
        work = self._claimed(conversation, exchange)
        self._services.running.start(asyncio.create_task(work, name="answers"))
        conversation.is_claimed = True  # from here on, and not from the task's first step

    async def _claimed(self, conversation: Conversation, exchange: Exchange) -> None:
        with conversation.claimed():
            conversation.touch()
            try:
                await self._fill(conversation, exchange)
            except ServeError as exc:
                _fail(exchange, exc)
            except Exception:
                logger.exception("the answers to a question failed")
                _fail(exchange, EngineFailure("the page failed; the cause is in its log"))
            finally:
                for answer in exchange.answers:
                    if answer.is_open:
                        answer.end("stopped", time.monotonic())
                conversation.running = None
                if isinstance(conversation.notice, StillAnswering):
                    conversation.notice = None
                await self._keeping.answers(conversation, exchange)

    async def _fill(self, conversation: Conversation, exchange: Exchange) -> None:
        await self._keeping.question(conversation, exchange)
        await self._keeping.answers(conversation, exchange)
        if not any(answer.state == "waiting" for answer in exchange.answers):
            return  # a Stop came meanwhile
        async with (
            streaming(self._ask(conversation, exchange), exchange.answers) as answers,
            self._services.running.listed(answers),
        ):
            conversation.running = answers
            conversation.beat()
            async for _ in answers.ended(SAVE_S):
                await self._keeping.answers(conversation, exchange)

    async def _ask(self, conversation: Conversation, exchange: Exchange) -> None:
        """Fill what is open; the files of a question are in memory while it has a place, only."""
        async with self._services.running.places:
            reading = asyncio.create_task(asyncio.to_thread(self._jobs, conversation, exchange))
            try:
                jobs = await asyncio.shield(reading)
            finally:
                await asyncio.wait({reading})  # a thread cannot be cancelled, and holds the files
            await fill(self._services.link.client, jobs, conversation.beat)

    def _jobs(self, conversation: Conversation, exchange: Exchange) -> list[Job]:
        uri_of = cache(partial(data_uri, self._services.media))  # read once, whoever is asked
        parameters, jobs = conversation.parameters, []
        for slot, answer in enumerate(exchange.answers):
            if answer.state == "waiting":
                said = messages(conversation.exchanges, uri_of, parameters.system, slot)
                body = {"model": answer.model, "messages": said, **parameters.fields(), **_COUNTED}
                if answer.text:
                    body[CONTINUES] = True
                jobs.append(Job(answer, body))
        return jobs


def _fail(exchange: Exchange, error: ServeError) -> None:
    """End every open answer with an error, which the log has under the answer's request id."""
    for answer in exchange.answers:
        if answer.is_open:
            logs.request_id.set(answer.request_id)
            serving.log_error(error)
            answer.end("failed", time.monotonic(), error)
