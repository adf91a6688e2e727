"""Chat service: every change of a conversation with one model or several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from llava_serve.errors import (
    ConversationBusy,
    NoWorker,
    QuestionEmpty,
    ServeError,
    StillAnswering,
    StorageFailed,
)
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.media.reader import MediaReader
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store
from llava_serve.web import uploads
from llava_serve.web.branches.versions import put_in_place, turn_ids
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.compare.folder_limits import FolderLimits
from llava_serve.web.compare.prices import Prices
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.file_gate import FileGate
from llava_serve.web.messages import check_size
from llava_serve.web.moderation import Moderation, check_all
from llava_serve.web.operators.rights import NOBODY_OPERATES, Operators
from llava_serve.web.parameters import Parameters
from llava_serve.web.persistence import TurnWriter
from llava_serve.web.reply import StreamedReply, Vote
from llava_serve.web.streaming import ActiveReplies, ReplyTasks
from llava_serve.web.translations.language import BUNDLED, Languages

_VOTES: tuple[Vote, ...] = get_args(Vote)


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the tabs share: the way to the controller, the places where things are kept.

    Without `logins` nobody has to sign in; without `prices` no cost is shown; without
    `remote_media` no image is fetched from a web address.
    """

    link: ControllerLink
    store: Store
    media: MediaStore
    moderation: Moderation | None
    max_body_bytes: int
    logins: LoginSessions | None = None
    allow_sharing: bool = False
    remote_media: MediaReader | None = None
    languages: Languages = BUNDLED
    prices: Prices | None = None
    folder_limits: FolderLimits = field(default_factory=FolderLimits)
    operators: Operators = NOBODY_OPERATES
    running: ActiveReplies = field(default_factory=ActiveReplies)
    gate: FileGate = field(default_factory=FileGate)


class ChatService:
    """Every change of a conversation; what takes time keeps the other changes away meanwhile."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._writer = TurnWriter(services.store)
        self._reply_tasks = ReplyTasks(
            services.link, services.media, services.running, self._writer
        )

    async def accept(
        self,
        conversation: ChatState,
        message: dict[str, Any],
        models: Sequence[str],
        parameters: Parameters,
    ) -> bool:
        """Append a question, whose answers begin; False when it is refused, with a notice.

        With `instead_of` in the message it becomes another version of that exchange.
        """
        exchanges, old = conversation.exchanges, message.get("instead_of")
        if conversation.is_busy:
            conversation.refuse(StillAnswering())
            return False
        conversation.notice = None
        with conversation.reserved():
            try:
                text, paths = message["text"].strip(), message["files"]
                index = len(exchanges) if old is None else exchanges.index(old)
                if not models:
                    raise self._why_none(conversation)
                await self._check_question(exchanges[:index], text, paths)
                await self._check(parameters, text)
                async with self.services.gate.arriving():
                    files = await uploads.keep(paths, self.services.media)
                    replies = [StreamedReply(model) for model in models]
                    number = exchanges[index - 1].number + 1 if index else 0
                    new = Exchange(text, files, replies, number)
                    await self._show(conversation, index, new)
            except ServeError as exc:
                conversation.notice = exc
                return False
            conversation.parameters = parameters
            conversation.before = None
        self._reply_tasks.start(conversation)
        return True

    async def _check_question(
        self, before: Sequence[Exchange], text: str, paths: Sequence[str]
    ) -> None:
        """Refuse a question before anything of it is kept."""
        if not text and not paths:
            raise QuestionEmpty
        sent = [exchange for exchange in before if not exchange.is_unsent]
        files_before = [file for exchange in sent for file in exchange.files]
        file_bytes = await uploads.size_bytes(paths)
        file_bytes += sum(file.size_bytes for file in files_before)
        check_size(file_bytes, self.services.max_body_bytes)

    async def _check(self, parameters: Parameters, *texts: str) -> None:
        """Refuse texts that moderation refuses; a model reads the system prompt too."""
        await check_all(self.services.moderation, (parameters.system, *texts))

    def _why_none(self, conversation: ChatState) -> ServeError:
        wanted = ", ".join(conversation.wanted) or "any model"
        return self.services.link.error or NoWorker(wanted)

    async def again(
        self, conversation: ChatState, models: Sequence[str], parameters: Parameters
    ) -> None:
        """Ask for new answers to the last question, those that failed, or all: another version.

        Answers that failed before their first word are no version to go back to.
        """
        last = conversation.last
        if last is None or conversation.is_busy:
            return
        conversation.notice = None if models else self._why_none(conversation)
        conversation.touch()
        if conversation.notice is not None:
            return
        slots = last.failed or range(len(last.replies))
        new = {slot: StreamedReply(models[slot]) for slot in slots}
        with conversation.reserved():
            if not await self._may_ask(conversation, parameters):
                return
            if last.failed and not any(last.replies[slot].text for slot in slots):
                await self._replace(conversation, last, new)
            else:
                copies = (
                    replace(one, turn_id=None, is_unsaved=True, vote=None) for one in last.replies
                )
                replies = [new.get(slot, copy) for slot, copy in enumerate(copies)]
                version = Exchange(last.text, last.files, replies, last.number)
                await self._show(conversation, len(conversation.exchanges) - 1, version)
        self._reply_tasks.start(conversation)

    async def resume(self, conversation: ChatState, parameters: Parameters) -> None:
        """Ask for the rest of the last answer; what comes is appended to what is there."""
        last = conversation.last
        if last is None or conversation.is_busy or not last.replies[0].can_continue:
            return
        conversation.notice, reply = None, last.replies[0]
        with conversation.reserved():
            if await self._may_ask(conversation, parameters):
                longer = StreamedReply(reply.model, text=reply.text)
                await self._replace(conversation, last, {0: longer})
        self._reply_tasks.start(conversation)

    async def _replace(
        self, conversation: ChatState, exchange: Exchange, new: Mapping[int, StreamedReply]
    ) -> None:
        """Put answers into the slots of others, which are gone with the vote on them all."""
        old = [exchange.replies[slot].turn_id for slot in new]
        exchange.judged = None
        await self._writer.replaced(conversation, old)
        for slot, reply in new.items():
            exchange.replies[slot] = reply

    async def show(self, conversation: ChatState, index: int, version: Exchange) -> None:
        """Show another version of an exchange, and the conversation that followed it."""
        if conversation.is_busy:
            conversation.refuse(ConversationBusy())
            return
        conversation.notice = None
        with conversation.reserved():
            await self._show(conversation, index, version)

    async def _show(self, conversation: ChatState, index: int, version: Exchange) -> None:
        hidden = put_in_place(conversation.exchanges, index, version)
        await self._writer.replaced(conversation, turn_ids(hidden))
        shown = turn_ids(conversation.exchanges[index:])
        await self._writer.replaced(conversation, shown, replaced=False)

    async def _may_ask(self, conversation: ChatState, parameters: Parameters) -> bool:
        """Take the parameters of what is asked again; False when they are refused."""
        try:
            await self._check(parameters)
        except ServeError as exc:
            conversation.notice = exc
            return False
        conversation.parameters = parameters
        return True

    async def judge(self, conversation: ChatState, place: tuple[int, int], kind: str) -> None:
        """Record a vote on the answer in a slot of an exchange, or take the same vote back."""
        number, slot = place
        if conversation.is_reserved or kind not in _VOTES:
            return
        if not (0 <= number < len(conversation.exchanges)):
            return
        replies = conversation.exchanges[number].replies
        if not (0 <= slot < len(replies)) or not replies[slot].text:
            return
        reply = replies[slot]
        if reply.turn_id is None:
            conversation.refuse(StorageFailed("the answer was not kept, so no vote can be"))
            return
        given = "withdrawn" if reply.vote == kind else kind
        conversation.notice = None
        with conversation.reserved():
            if await self._writer.vote(conversation, reply.turn_id, given) is not None:
                reply.vote = next((vote for vote in _VOTES if vote == given), None)

    async def vote(self, conversation: ChatState, kind: str, slot: int | None = None) -> None:
        """Record a vote of a comparison: on the answer in `slot` of the last exchange, or on all.

        A later one replaces it.
        """
        last = conversation.last
        if last is None or conversation.is_busy:
            return
        reply_ids = [reply.turn_id for reply in last.replies]
        voted = last.turn_id if slot is None else reply_ids[slot]
        if voted is None or None in reply_ids:
            conversation.refuse(StorageFailed("the answer was not kept, so no vote can be"))
            return
        model = None if slot is None else last.replies[slot].model
        compared = [known for known in reply_ids if known is not None]
        conversation.notice = None
        with conversation.reserved():
            kept = self._writer.vote(conversation, voted, kind, model=model, compared=compared)
            if await kept is not None:
                last.judged = kind, model
