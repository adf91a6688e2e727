"""Past conversations of a user or a browser: listed, renamed, deleted, exported and imported."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext

from llava_serve.errors import BattleOpen, ConversationBusy, ConversationUnknown, NoCookies
from llava_serve.storage.battles import ARENA
from llava_serve.storage.identity import NOBODY, Identity
from llava_serve.storage.listing import ConversationList, Entry
from llava_serve.storage.media import MediaStore
from llava_serve.storage.tables import ConversationRow
from llava_serve.web import conversation_import
from llava_serve.web.arena.battle import has_vote
from llava_serve.web.chat_service import Services
from llava_serve.web.moderation import check_all
from llava_serve.web.sessions import Sessions
from llava_serve.web.translations.language import translate

Write = Callable[[ConversationRow, str, MediaStore], str]
"""Writes a conversation under its title, as one text."""
_AT_ONCE = 2  # exports and imports: each holds all the files of a conversation in memory


class PastConversations:
    """What is not theirs is to everybody as if it were not there: ConversationUnknown.

    `shown_to_all` are stored files that the page itself shows, which stay.
    """

    def __init__(
        self, services: Services, sessions: Sessions, shown_to_all: frozenset[str]
    ) -> None:
        self._services, self._sessions = services, sessions
        self._list = ConversationList(services.store)
        self._shown_to_all = shown_to_all
        self._heavy = asyncio.Semaphore(_AT_ONCE)

    async def entries(self, whose: Identity, search: str, count: int) -> tuple[list[Entry], bool]:
        """Return the newest that hold every word of `search`, and whether there are more."""
        return await asyncio.to_thread(self._list.entries, whose, search, count)

    async def rename(self, whose: Identity, conversation_id: str, title: str) -> None:
        """Give it a title; an empty one is its first question again."""
        if not await asyncio.to_thread(self._list.rename, whose, conversation_id, title):
            raise ConversationUnknown

    async def delete(self, whose: Identity, conversation_id: str) -> None:
        """Delete it with the files that nobody else uses; tabs that show it become empty.

        Raises:
            ConversationBusy: an answer of it is being made.
        """
        await self._title(whose, conversation_id)
        shown = self._sessions.open_one(conversation_id)
        if shown is not None and shown.is_busy:
            raise ConversationBusy
        with nullcontext() if shown is None else shown.reserved():
            filenames = await asyncio.to_thread(self._list.delete, whose, conversation_id)
        if filenames is None:  # another tab was faster
            raise ConversationUnknown
        if (shown := self._sessions.open_one(conversation_id)) is not None:
            shown.empty()
        await self.remove_unused(set(filenames))

    async def remove_unused(self, filenames: set[str]) -> None:
        """Remove stored files, but those that somebody uses."""
        async with self._services.gate.removing():
            unused = filenames - self._shown_to_all - self._sessions.filenames()
            used = await asyncio.to_thread(self._list.used, sorted(unused))
            for filename in sorted(unused - used):
                await asyncio.to_thread(self._services.media.delete, filename)

    async def export(self, whose: Identity, conversation_id: str, write: Write) -> str:
        """Return what `write` makes of it.

        Raises:
            ConversationBusy: an answer of it is being made.
            BattleOpen: the names of its models are not to be known yet.
        """
        title = await self._title(whose, conversation_id)
        async with self._heavy:
            row = await self.quiet(whose, conversation_id)
            return await asyncio.to_thread(write, row, title, self._services.media)

    async def quiet(self, whose: Identity, conversation_id: str) -> ConversationRow:
        """Return one of theirs with all that belongs to it.

        Raises:
            ConversationBusy: an answer of it is being made.
            BattleOpen: the names of its models are not to be known yet.
        """
        shown = self._sessions.open_one(conversation_id)
        if shown is not None and shown.is_busy:
            raise ConversationBusy
        store = self._services.store
        row = await asyncio.to_thread(self._list.conversation, whose, conversation_id)
        if row is None:
            raise ConversationUnknown
        if row.kind == ARENA and not await asyncio.to_thread(has_vote, store, conversation_id):
            raise BattleOpen
        return row

    async def add(self, whose: Identity, body: bytes) -> tuple[str, str]:
        """Keep a conversation that was exported as JSON; return its kind and its id.

        Raises:
            ImportRefused, NoCookies: it is none, or there is nobody whose it could be.
            ModerationRefused, ModerationUnavailable: one of its texts may not be kept.
        """
        if whose == NOBODY:
            raise NoCookies("the conversation would not be found again")
        async with self._heavy:
            data = await asyncio.to_thread(conversation_import.read, body)
            await check_all(self._services.moderation, (one.question for one in data.exchanges))
            async with self._services.gate.arriving():
                services, limit_bytes = self._services, self._services.max_body_bytes
                kept = (data, services.store, services.media, whose, limit_bytes)
                return data.kind, await asyncio.to_thread(conversation_import.keep, *kept)

    async def _title(self, whose: Identity, conversation_id: str) -> str:
        title = await asyncio.to_thread(self._list.title, whose, conversation_id)
        if title is None:
            raise ConversationUnknown
        return title or translate("past.untitled")
