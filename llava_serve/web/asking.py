"""A question on its way: accepted, kept, asked, answered, judged; the same for both tabs."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal

from llava_serve import logs, serving
from llava_serve.errors import EngineFailure, InvalidField, NoWorker, ServeError, StorageFailed
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import NewTurn, Store
from llava_serve.web import uploads
from llava_serve.web.answer import Answer
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.conversation import Conversation, Exchange, check_size, data_uri, messages
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
    """Every change of a conversation; what takes time keeps the other changes away meanwhile."""

    def __init__(self, services: Services, kind: Literal["chat", "compare"]) -> None:
        self.services = services
        self._kind = kind

    async def accept(
        self,
        conversation: Conversation,
        message: dict[str, Any],
        models: Sequence[str],
        parameters: Parameters,
    ) -> bool:
        """Append a question with its open answers; False when it is refused, with a notice."""
        if conversation.is_busy:
            return False
        conversation.notice = None
        with conversation.claimed():
            try:
                exchange = await self._exchange(conversation, message, models, parameters)
            except ServeError as exc:
                conversation.notice = exc
                return False
            conversation.id = conversation.id or secrets.token_hex(16)
            conversation.exchanges.append(exchange)
            conversation.parameters = parameters
        return True

    async def _exchange(
        self,
        conversation: Conversation,
        message: dict[str, Any],
        models: Sequence[str],
        parameters: Parameters,
    ) -> Exchange:
        """Refuse a question before anything of it is kept."""
        if not models:
            raise self._why_none(conversation)
        text, paths = message["text"].strip(), message["files"]
        if not text and not paths:
            raise InvalidField("question", "is empty")
        files_before = [file for exchange in conversation.exchanges for file in exchange.files]
        file_bytes = await uploads.size_bytes(paths)
        file_bytes += sum(file.size_bytes for file in files_before)
        check_size(file_bytes, self.services.max_body_bytes)
        await self._check(parameters, text)
        files = await uploads.keep(paths, self.services.media)
        return Exchange(text, files, [Answer(model) for model in models])

    async def _check(self, parameters: Parameters, *texts: str) -> None:
        """Refuse texts that moderation refuses; a model reads the system prompt too."""
        if self.services.moderation is not None:
            for text in filter(None, (parameters.system.strip(), *texts)):
                await self.services.moderation.check(text)

    def _why_none(self, conversation: Conversation) -> ServeError:
        wanted = ", ".join(conversation.wanted) or "any model"
        return self.services.link.error or NoWorker(wanted)

    async def again(
        self, conversation: Conversation, models: Sequence[str], parameters: Parameters
    ) -> None:
        """Open new answers to the last question, in place of those that failed, or else of all."""
        last = conversation.last
        if last is None or conversation.is_busy:
            return
        conversation.notice = None if models else self._why_none(conversation)
        if conversation.notice is not None:
            return
        slots = last.failed or range(len(last.answers))
        with conversation.claimed():
            if await self._may_ask(conversation, parameters):
                await self._replaced(conversation, [last.answers[slot].turn_id for slot in slots])
                for slot in slots:
                    last.answers[slot] = Answer(models[slot])
                last.vote = None

    async def resume(self, conversation: Conversation, parameters: Parameters) -> None:
        """Open the last answer again; what comes is appended to what is there."""
        last = conversation.last
        if last is None or conversation.is_busy or not last.answers[0].can_continue:
            return
        conversation.notice, answer = None, last.answers[0]
        with conversation.claimed():
            if await self._may_ask(conversation, parameters):
                await self._replaced(conversation, [answer.turn_id])
                answer.turn_id, answer.state = None, "waiting"
                last.vote = None

    async def _may_ask(self, conversation: Conversation, parameters: Parameters) -> bool:
        """Take the parameters of what is asked again; False when they are refused."""
        try:
            await self._check(parameters)
        except ServeError as exc:
            conversation.notice = exc
            return False
        conversation.parameters = parameters
        return True

    async def take_back(self, conversation: Conversation) -> Exchange | None:
        """Remove the last exchange, to be edited and asked again; return it."""
        if conversation.last is None or conversation.is_busy:
            return None
        conversation.notice = None
        taken = conversation.exchanges.pop()
        turn_ids = [taken.turn_id, *(answer.turn_id for answer in taken.answers)]
        with conversation.claimed():
            await self._replaced(conversation, turn_ids)
        return taken

    async def stream(self, conversation: Conversation) -> AsyncGenerator[Exchange]:
        """Fill the open answers of the last exchange; yield it whenever it has changed.

        Closing this generator (the browser left) ends the work and keeps what arrived.
        """
        exchange = conversation.last
        if exchange is None or conversation.is_claimed or not exchange.is_open:
            return
        with conversation.claimed():
            try:
                await self._keep_question(conversation, exchange)
                jobs = await asyncio.to_thread(self._jobs, conversation, exchange)
                # A Stop may have come while the files were read.
                jobs = [job for job in jobs if job.answer.state == "waiting"]
                async with streaming(self.services.link.client, jobs) as running:
                    conversation.running = running
                    self.services.running.add(running)
                    async for _ in running.updates():
                        yield exchange
            except ServeError as exc:
                _fail(exchange, exc)
            except Exception:
                _fail(exchange, EngineFailure("the page failed; the cause is in its log"))
                raise
            finally:
                for answer in exchange.answers:
                    if answer.is_open:
                        answer.end("stopped", time.monotonic())
                if conversation.running is not None:
                    self.services.running.discard(conversation.running)
                conversation.running = None
                await self._keep_answers(conversation, exchange)

    def _jobs(self, conversation: Conversation, exchange: Exchange) -> list[Job]:
        uri_of = cache(partial(data_uri, self.services.media))  # read once, whoever is asked
        parameters, jobs = conversation.parameters, []
        for slot, answer in enumerate(exchange.answers):
            if answer.state == "waiting":
                said = messages(conversation.exchanges, uri_of, parameters.system, slot)
                body = {"model": answer.model, "messages": said, **parameters.fields()}
                jobs.append(Job(answer, body))
        return jobs

    async def vote(
        self, conversation: Conversation, kind: str, said: str, slot: int | None = None
    ) -> None:
        """Record a vote on the last exchange, or on its answer in `slot`.

        `said` is what the page shows of it. A vote of the comparison names the answers compared.
        """
        last = conversation.last
        if last is None or conversation.is_busy:
            return
        answer_ids = [answer.turn_id for answer in last.answers]
        voted = last.turn_id if slot is None else answer_ids[slot]
        if voted is None or None in answer_ids:
            conversation.notice = StorageFailed("the answer was not kept, so no vote can be")
            return
        compares = self._kind == "compare"
        add = partial(
            self.services.store.add_vote,
            conversation.id,
            voted,
            kind,
            model=last.answers[slot].model if compares and slot is not None else None,
            compared=[known for known in answer_ids if known is not None] if compares else (),
        )
        with conversation.claimed():
            if await self._stored(conversation, add) is not None:
                last.vote = said

    async def _keep_question(self, conversation: Conversation, exchange: Exchange) -> None:
        if exchange.turn_id is None:
            turn = NewTurn(
                exchange=conversation.exchanges.index(exchange),
                role="user",
                text=exchange.text,
                files=exchange.files,
            )
            if ids := await self._added(conversation, [turn]):
                (exchange.turn_id,) = ids

    async def _keep_answers(self, conversation: Conversation, exchange: Exchange) -> None:
        fresh = [answer for answer in exchange.answers if answer.turn_id is None]
        parameters = conversation.parameters
        asked = {**parameters.fields(), "system": parameters.system}
        turns = [
            NewTurn(
                exchange=conversation.exchanges.index(exchange),
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
            serving.log_error(exc)
            conversation.notice = exc
            return None


def _fail(exchange: Exchange, error: ServeError) -> None:
    """End every open answer with an error, which the log has under the answer's request id."""
    for answer in exchange.answers:
        if answer.is_open:
            logs.request_id.set(answer.request_id)
            serving.log_error(error)
            answer.end("failed", time.monotonic(), error)
