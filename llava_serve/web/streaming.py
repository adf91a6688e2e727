"""Streaming of replies from the models: their tasks, and what is kept of them meanwhile."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import cache, partial
from typing import Any

from llava_serve import logs
from llava_serve.controllers import Controllers
from llava_serve.errors import (
    AnswerInterrupted,
    CannotContinue,
    EngineFailure,
    RemoteError,
    ServeError,
    StillAnswering,
)
from llava_serve.http import serving
from llava_serve.protocol.line_place import LinePlace
from llava_serve.storage.media import MediaStore
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.compare.fingerprint import fingerprint_of, seed_for
from llava_serve.web.compare.refused import ask_without_refused
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.messages import CONTINUES, data_uri, request_body, sha256_of
from llava_serve.web.persistence import TurnWriter
from llava_serve.web.reply import ReplyHandle, State, StreamedReply

logger = logging.getLogger(__name__)

SAVE_S = 2.0  # how much of a reply a crash can lose


ReplyRequest = tuple[StreamedReply, dict[str, Any]]
"""A reply to fill, and the body of the request that asks for it."""


@asynccontextmanager
async def streaming(
    work: Coroutine[Any, Any, None], replies: Sequence[StreamedReply]
) -> AsyncIterator[ReplyHandle]:
    """Run the work that fills replies; leaving the block stops it and ends what it left open."""
    task = asyncio.create_task(work, name="question")
    running = ReplyHandle(task)
    try:
        yield running
    finally:
        running.stop()
        await asyncio.wait({task})
        if task.cancelled():
            state: State = "stopped" if running.reason is None else "failed"
            for reply in replies:
                if reply.is_open:
                    reply.end(state, time.monotonic(), running.reason)


async def fill(
    client: Controllers,
    requests: Sequence[ReplyRequest],
    on_change: Callable[[], None],
    user: str | None = None,
) -> None:
    """Fill every request's reply, all at once, for a user whose name is opaque."""
    filling = [_fill(client, reply, body, on_change, user) for reply, body in requests]
    # It waits for all of them; without `return_exceptions` a stop would leave some unfinished.
    await asyncio.gather(*filling, return_exceptions=True)


async def _fill(
    client: Controllers,
    reply: StreamedReply,
    body: dict[str, Any],
    on_change: Callable[[], None],
    user: str | None,
) -> None:
    """Fill one reply; one that is cancelled stays open, for whoever knows why it was."""
    logs.request_id.set(reply.request_id)
    try:
        reply.begin(time.monotonic())

        def wait_at(place: LinePlace | None) -> None:
            reply.place = place
            on_change()

        async def ask(asked: dict[str, Any]) -> None:
            async with aclosing(client.stream(asked, reply.request_id, wait_at, user)) as chunks:
                async for chunk in chunks:
                    reply.take(chunk, time.monotonic())
                    on_change()

        await ask_without_refused(ask, reply, body)
        reply.end("done", time.monotonic())
    except ServeError as exc:
        serving.log_error(exc)
        if CONTINUES in body and isinstance(exc, RemoteError) and CONTINUES in exc.message:
            exc = CannotContinue(reply.model)  # the user has sent no field of this name
        reply.end("failed", time.monotonic(), exc)
    except Exception:
        logger.exception("an answer failed")
        failure = EngineFailure("the page failed in mid-answer; the cause is in its log")
        reply.end("failed", time.monotonic(), failure)
    finally:
        on_change()


class ActiveReplies:
    """The replies to all browsers; at most `places` questions are answered at once."""

    def __init__(self, places: int = 16) -> None:
        self.limit = places
        self.places = asyncio.Semaphore(places)
        self._tasks: set[asyncio.Task[None]] = set()
        self._streaming: set[ReplyHandle] = set()

    def start(self, task: asyncio.Task[None]) -> None:
        """Keep a task until it is done; `stop_all` waits for it."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def listed(self, one: ReplyHandle) -> AsyncIterator[None]:
        """List replies among those that `stop_all` ends."""
        self._streaming.add(one)
        try:
            yield
        finally:
            self._streaming.discard(one)

    async def stop_all(self) -> None:
        """End every reply, and wait until its end is written down: the process is to stop."""
        while self._tasks:
            for one in self._streaming:
                one.stop(AnswerInterrupted())
            await asyncio.wait(self._tasks, timeout=0.1)


class ReplyTasks:
    """Fills open replies, in a task of its own, to the end or until they are stopped.

    A browser that leaves changes nothing: how long a reply can be is bounded by its token limit
    and by the context.
    """

    def __init__(
        self, link: ControllerLink, media: MediaStore, active: ActiveReplies, writer: TurnWriter
    ) -> None:
        self._link = link
        self._media = media
        self._active = active
        self._writer = writer

    def start(self, conversation: ChatState) -> None:
        """Begin with the open replies of the last exchange, if there are any."""
        exchange = conversation.last
        if exchange is None or conversation.is_reserved or not exchange.is_open:
            return
        work = self._run(conversation, exchange)
        self._active.start(asyncio.create_task(work, name="answers"))
        conversation.is_reserved = True  # from here on, and not from the task's first step

    async def _run(self, conversation: ChatState, exchange: Exchange) -> None:
        with conversation.reserved():
            conversation.touch()
            try:
                await self._fill(conversation, exchange)
            except ServeError as exc:
                _fail(exchange, exc)
            except Exception:
                logger.exception("the answers to a question failed")
                _fail(exchange, EngineFailure("the page failed; the cause is in its log"))
            finally:
                for reply in exchange.replies:
                    if reply.is_open:
                        reply.end("stopped", time.monotonic())
                conversation.running = None
                if isinstance(conversation.notice, StillAnswering):
                    conversation.notice = None
                await self._writer.replies(conversation, exchange)

    async def _fill(self, conversation: ChatState, exchange: Exchange) -> None:
        await self._writer.question(conversation, exchange)
        await self._writer.replies(conversation, exchange)
        if not any(reply.state == "waiting" for reply in exchange.replies):
            return  # a Stop came meanwhile
        async with (
            streaming(self._ask(conversation, exchange), exchange.replies) as replies,
            self._active.listed(replies),
        ):
            conversation.running = replies
            conversation.notify()
            async for _ in replies.ended(SAVE_S):
                await self._writer.replies(conversation, exchange)

    async def _ask(self, conversation: ChatState, exchange: Exchange) -> None:
        """Fill what is open; the files of a question are in memory while it has a place, only."""
        async with self._active.places:
            reading = asyncio.create_task(asyncio.to_thread(self._requests, conversation, exchange))
            try:
                requests = await asyncio.shield(reading)
            finally:
                await asyncio.wait({reading})  # a thread cannot be cancelled, and holds the files
            await fill(self._link.client, requests, conversation.notify, conversation.asks_as)

    def _requests(self, conversation: ChatState, exchange: Exchange) -> list[ReplyRequest]:
        uri_of = cache(partial(data_uri, self._media))  # read once, whoever is asked
        sha256, requests, seed = cache(sha256_of), [], None
        if conversation.kind == "compare":
            ended = [reply for reply in exchange.replies if reply.state != "waiting"]
            seed = seed_for(reply.fingerprint for reply in ended)
        for slot, reply in enumerate(exchange.replies):
            if reply.state == "waiting":
                reply.asked, reply.given = conversation.parameters, len(reply.text)
                body = request_body(conversation.exchanges, uri_of, slot)
                if seed is not None:
                    body.setdefault("seed", seed)
                    reply.fingerprint = fingerprint_of(body, sha256)
                requests.append((reply, body))
        return requests


def _fail(exchange: Exchange, error: ServeError) -> None:
    """End every open reply with an error, which the log has under the reply's request id."""
    for reply in exchange.replies:
        if reply.is_open:
            logs.request_id.set(reply.request_id)
            serving.log_error(error)
            reply.end("failed", time.monotonic(), error)
