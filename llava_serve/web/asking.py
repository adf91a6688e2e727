"""A question on its way: accepted, kept, asked, answered, judged; the same for both tabs."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from llava_serve.errors import InvalidField, NoWorker, ServeError, StorageFailed
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import NewTurn, Store
from llava_serve.web import uploads
from llava_serve.web.answer import Answer
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.conversation import Conversation, Exchange, check_size, messages
from llava_serve.web.moderation import Moderation
from llava_serve.web.parameters import Parameters
from llava_serve.web.streaming import Job, Streaming, streaming


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the tabs share: the way to the controller, the places where things are kept."""

    link: ControllerLink
    store: Store
    media: MediaStore
    moderation: Moderation | None
    max_body_bytes: int
    running: set[Streaming] = field(default_factory=set)

    def stop_all(self) -> None:
        """End every answer of every browser: the process is about to stop."""
        for one in self.running:
            one.stop()


class Asking:
    def __init__(self, services: Services, kind: Literal["chat", "compare"]) -> None:
        self.services = services
        self._kind = kind

    async def accept(
        self, conversation: Conversation, message: dict[str, Any], models: Sequence[str]
    ) -> bool:
        """Append a question with its open answers; False when it is refused, with a notice."""
        conversation.notice = None
        try:
            exchange = await self._exchange(conversation, message, models)
        except ServeError as exc:
            conversation.notice = exc
            return False
        conversation.id = conversation.id or secrets.token_hex(16)
        conversation.exchanges.append(exchange)
        return True

    async def _exchange(
        self, conversation: Conversation, message: dict[str, Any], models: Sequence[str]
    ) -> Exchange:
        if not models:
            raise self._why_none(conversation)
        text, paths = message["text"].strip(), message["files"]
        if not text and not paths:
            raise InvalidField("question", "is empty")
        files = await uploads.keep(paths, self.services.media)
        exchange = Exchange(text, files, [Answer(model) for model in models])
        check_size([*conversation.exchanges, exchange], self.services.max_body_bytes)
        if self.services.moderation is not None and text:
            await self.services.moderation.check(text)
        return exchange

    def _why_none(self, conversation: Conversation) -> ServeError:
        wanted = ", ".join(conversation.wanted) or "any model"
        return self.services.link.error or NoWorker(wanted)

    async def again(self, conversation: Conversation, models: Sequence[str]) -> None:
        """Open new answers to the last question, in place of those it has."""
        last = conversation.last
        if last is None or conversation.is_busy:
            return
        conversation.notice = None if models else self._why_none(conversation)
        if conversation.notice is not None:
            return
        await self._replaced(conversation, [answer.turn_id for answer in last.answers])
        last.answers, last.vote = [Answer(model) for model in models], None

    async def resume(self, conversation: Conversation) -> None:
        """Open the last answer again; what comes is appended to what is there."""
        last = conversation.last
        if last is None or not last.answers[0].can_continue:
            return
        conversation.notice = None
        answer = last.answers[0]
        await self._replaced(conversation, [answer.turn_id])
        answer.turn_id, answer.state = None, "waiting"

    async def take_back(self, conversation: Conversation) -> Exchange | None:
        """Remove the last exchange, to be edited and asked again; return it."""
        if conversation.last is None or conversation.is_busy:
            return None
        taken = conversation.exchanges.pop()
        await self._replaced(
            conversation, [taken.turn_id, *(answer.turn_id for answer in taken.answers)]
        )
        return taken

    async def stream(
        self, conversation: Conversation, parameters: Parameters
    ) -> AsyncGenerator[Exchange]:
        """Fill the open answers of the last exchange; yield it whenever it has changed.

        Closing this generator (the browser left) ends the work and keeps what arrived.
        """
        exchange = conversation.last
        if exchange is None or conversation.running is not None or not exchange.is_open:
            return
        try:
            await self._keep_question(conversation, exchange)
            jobs = await asyncio.to_thread(self._jobs, conversation, exchange, parameters)
            async with streaming(self.services.link.client, jobs) as running:
                conversation.running = running
                self.services.running.add(running)
                async for _ in running.updates():
                    yield exchange
        except ServeError as exc:
            conversation.notice = exc
        finally:
            for answer in exchange.answers:
                if answer.is_open:
                    answer.end("failed", time.monotonic())
            if conversation.running is not None:
                self.services.running.discard(conversation.running)
            conversation.running = None
            await self._keep_answers(conversation, exchange, parameters)

    def _jobs(
        self, conversation: Conversation, exchange: Exchange, parameters: Parameters
    ) -> list[Job]:
        jobs = []
        for slot, answer in enumerate(exchange.answers):
            if answer.state == "waiting":
                said = messages(
                    conversation.exchanges, self.services.media, parameters.system, slot
                )
                body = {"model": answer.model, "messages": said, **parameters.fields()}
                jobs.append(Job(answer, body))
        return jobs

    async def vote(
        self, conversation: Conversation, kind: str, said: str, model: str | None = None
    ) -> None:
        """Record a vote on the last exchange; `said` is what the page shows of it."""
        last = conversation.last
        if last is None or last.is_open:
            return
        voted = last.answers[0].turn_id if self._kind == "chat" else last.turn_id
        if voted is None:
            conversation.notice = StorageFailed("the answer was not kept, so no vote can be")
            return
        add = partial(self.services.store.add_vote, conversation.id, voted, kind, model)
        if await self._stored(conversation, add) is not None:
            last.vote = said

    async def _keep_question(self, conversation: Conversation, exchange: Exchange) -> None:
        if exchange.turn_id is None:
            turn = NewTurn(
                exchange=len(conversation.exchanges) - 1,
                role="user",
                text=exchange.text,
                files=exchange.files,
            )
            if ids := await self._added(conversation, [turn]):
                (exchange.turn_id,) = ids

    async def _keep_answers(
        self, conversation: Conversation, exchange: Exchange, parameters: Parameters
    ) -> None:
        fresh = [answer for answer in exchange.answers if answer.turn_id is None]
        asked = {**parameters.fields(), "system": parameters.system}
        turns = [
            NewTurn(
                exchange=len(conversation.exchanges) - 1,
                role="assistant",
                text=answer.text,
                model=answer.model,
                details=answer.details() | {"parameters": asked},
            )
            for answer in fresh
        ]
        for answer, turn_id in zip(fresh, await self._added(conversation, turns), strict=False):
            answer.turn_id = turn_id

    async def _added(self, conversation: Conversation, turns: Sequence[NewTurn]) -> list[int]:
        add = partial(self.services.store.add_turns, conversation.id, self._kind, turns)
        return await self._stored(conversation, add) or []

    async def _replaced(self, conversation: Conversation, ids: Sequence[int | None]) -> None:
        known = [turn_id for turn_id in ids if turn_id is not None]
        await self._stored(conversation, partial(self.services.store.mark_replaced, known))

    async def _stored(self, conversation: Conversation, work: Callable[[], Any]) -> Any:
        """Run database work off the loop; a failure becomes a notice, and the chat goes on."""
        try:
            return await asyncio.to_thread(work)
        except StorageFailed as exc:
            conversation.notice = exc
            return None
