"""Shared conversations: links to them are made, listed and withdrawn, and what one shows."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from weakref import WeakValueDictionary

from cachetools import LRUCache

from llava_serve.storage.identity import Identity
from llava_serve.storage.shared import SharedLinks
from llava_serve.web.branches.versions import turn_ids
from llava_serve.web.chat_service import Services
from llava_serve.web.heavy_work import HeavyWork
from llava_serve.web.past_conversations import PastConversations
from llava_serve.web.persistence import restored
from llava_serve.web.sharing.link_part import link_part
from llava_serve.web.sharing.shared_page import gzipped, version_of
from llava_serve.web.translations.language import current

_AT_ONCE = 2  # pages that are made: each holds all the files of a conversation in memory
_KEPT_BYTES = 64_000_000  # of pages that are made


class Sharing:
    """A link shows the branch that was shown when it was made, whatever is asked later."""

    def __init__(self, past: PastConversations, services: Services) -> None:
        self._past, self._media = past, services.media
        self._links = SharedLinks(services.store)
        self._heavy = HeavyWork(_AT_ONCE)
        self._made = LRUCache[str, bytes](_KEPT_BYTES, getsizeof=len)
        self._making = WeakValueDictionary[str, asyncio.Lock]()

    async def parts(self, whose: Identity, conversation_ids: Sequence[str]) -> dict[str, str]:
        """Return of each conversation what its entry in the list says of its link, as HTML."""
        tokens = await asyncio.to_thread(self._links.tokens, whose, conversation_ids)
        return {one: link_part(tokens.get(one)) for one in conversation_ids}

    async def make(self, whose: Identity, conversation_id: str) -> str:
        """Make a link to one of theirs, in place of one that there was; return its part.

        Raises:
            ConversationUnknown: it is none of theirs.
            ConversationBusy: an answer of it is being made.
            BattleOpen: it is a battle without a vote.
        """
        row = await self._past.quiet(whose, conversation_id)
        shown = await asyncio.to_thread(restored, row, self._media)
        known = [one for one in turn_ids(shown.exchanges) if one is not None]
        return link_part(await asyncio.to_thread(self._links.make, conversation_id, known))

    async def withdraw(self, whose: Identity, conversation_id: str) -> str:
        """Withdraw the link to one of theirs, if there is one; return its part."""
        if conversation_id in await asyncio.to_thread(self._links.tokens, whose, [conversation_id]):
            await asyncio.to_thread(self._links.withdraw, conversation_id)
        return link_part(None)

    async def page(self, token: str) -> bytes | None:
        """Return what a link shows, as a page with all its files in it, by gzip; None without one.

        It is made once for all who ask, as long as there is room for it.
        """
        row = await asyncio.to_thread(self._links.conversation, token)
        if row is None:
            return None
        version = f"{current.get().tag} {version_of(row)}"
        async with self._making.setdefault(version, asyncio.Lock()):
            if (page := self._made.get(version)) is None:
                page = await self._heavy.run(partial(gzipped, row, self._media))
                with suppress(ValueError):  # it is larger than all that is kept
                    self._made[version] = page
        return page
