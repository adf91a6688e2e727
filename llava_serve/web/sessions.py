"""The conversations of every browser tab, through sleep, reloads and restarts of the page."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from llava_serve.errors import ConversationUnknown, StorageFailed
from llava_serve.http import serving
from llava_serve.logins.user import User
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.storage.store import Store
from llava_serve.web.arena.battle import battle_of
from llava_serve.web.branches.versions import every
from llava_serve.web.chat_state import ChatState, Exchange, Kind
from llava_serve.web.persistence import restored
from llava_serve.web.render import LETTERS

MOST = 2000  # tabs; beyond it the one that was silent longest is forgotten
IDLE_S = 24 * 3600  # an open tab calls twice a minute, unless nobody sees it or its machine sleeps


# Alive as long as a tab shows them, or an answer is made.
Known = WeakValueDictionary[str, ChatState]


class Place:
    """Where a browser tab shows a conversation, which other browser tabs may show as well.

    `menu_shown` is the model menu as this one has it, `editing` the question whose other version
    is typed here.
    """

    def __init__(self, conversation: ChatState, known: Known) -> None:
        self._known = known
        self.menu_shown: object = None
        self.show(conversation)

    def show(self, conversation: ChatState) -> None:
        """Show this one from here on; it can be found by its id, before anything of it is kept."""
        self.conversation = conversation
        self.editing: Exchange | None = None
        self._known[conversation.id] = conversation


@dataclass
class Session:
    """What one browser tab has on the server."""

    chat: Place
    compare: Place
    arena: Place
    used: float  # seconds on the clock of `Sessions`

    def place(self, kind: Kind) -> Place:
        """Return where a kind of conversation is shown."""
        return {"chat": self.chat, "compare": self.compare, "arena": self.arena}[kind]


@dataclass(frozen=True)
class Address:
    """What the address of a page names: conversations by their ids, and models to begin with."""

    chat: str | None = None
    compare: str | None = None
    arena: str | None = None
    models: Sequence[str] = ()


def _files(conversations: Sequence[ChatState]) -> Iterator[StoredFile]:
    for conversation in conversations:
        for exchange, _ in every(conversation.exchanges):
            yield from exchange.files


def _owner(user: User | None) -> str | None:
    return None if user is None else user.owner


class Sessions:
    """Not a `gr.State`: Gradio deletes those of a tab whose connection was ever interrupted.

    The key is the random name that Gradio's script gives to each load of the page. A tab that is
    forgotten, or that is older than this process, finds its conversations by their ids.
    """

    def __init__(
        self, store: Store, media: MediaStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._media = store, media
        self._clock = clock
        self._sessions: OrderedDict[tuple[str | None, str], Session] = OrderedDict()
        self._known = Known()

    async def of(
        self, name: str, address: Address, user: User | None = None, browser: str | None = None
    ) -> Session:
        """Return a tab's session; one that is not known begins with what its address names.

        Where nobody signs in, what it begins with is the `browser`'s.
        """
        key, known = (_owner(user), name), self._known
        if key not in self._sessions:
            chat = await self._begin("chat", address.chat, address.models[:1], user)
            compare = await self._begin(
                "compare", address.compare, address.models[: len(LETTERS)], user
            )
            arena = await self._begin("arena", address.arena, (), user)
            for new in (chat, compare, arena):
                if new.browser is None and not new.exchanges:
                    new.browser = browser
            places = (Place(chat, known), Place(compare, known), Place(arena, known))
            # Another call of the tab may have been faster.
            self._sessions.setdefault(key, Session(*places, self._clock()))
        session = self._sessions[key]
        session.used = self._clock()
        self._sessions.move_to_end(key)
        self._forget(session.used)
        return session

    async def _begin(
        self, kind: Kind, named: str | None, models: Sequence[str], user: User | None
    ) -> ChatState:
        conversation = ChatState(kind, user=user)
        if named:
            try:
                found = await self.find(named, user)
                if found is not None and found.kind == kind:
                    return found
                conversation.notice = ConversationUnknown()
            except StorageFailed as exc:
                serving.log_error(exc)
                conversation.notice = exc
            conversation.keeps_address = True
        conversation.wanted = tuple(models)
        return conversation

    async def find(self, conversation_id: str, user: User | None = None) -> ChatState | None:
        """Return a conversation of a user by its id, from the database if no tab has it open.

        Raises:
            StorageFailed: the database cannot be read.
        """
        if (open_one := self._known.get(conversation_id)) is not None:
            return open_one if open_one.owner == _owner(user) else None
        read = await asyncio.to_thread(self._read, conversation_id, user)
        if read is None:
            return None
        return self._known.setdefault(conversation_id, read)

    def _read(self, conversation_id: str, user: User | None) -> ChatState | None:
        row = self._store.conversation(conversation_id)
        if row is None or row.owner != _owner(user):
            return None
        conversation = restored(row, self._media, user)
        if conversation.kind == "arena":
            conversation.battle = battle_of(self._store, row.id)
        return conversation

    async def may_see(self, user: User, sha256: str) -> bool:
        """Tell whether a conversation of a user has a file.

        Raises:
            StorageFailed: the database cannot be read.
        """
        mine = [one for one in self._known.values() if one.owner == user.owner]
        if any(file.sha256 == sha256 for file in _files(mine)):  # written down or not
            return True
        return await asyncio.to_thread(self._store.has_media, user.owner, sha256)

    def know(self, conversation: ChatState) -> None:
        """Let a conversation that no tab shows be found by its id, as long as it lives."""
        self._known[conversation.id] = conversation

    def open_one(self, conversation_id: str) -> ChatState | None:
        """Return a conversation that a tab shows, or whose answer is made."""
        return self._known.get(conversation_id)

    def filenames(self) -> set[str]:
        """Return the stored files of all conversations that are open, written down or not."""
        return {file.filename for file in _files([*self._known.values()])}

    def _forget(self, now: float) -> None:
        while len(self._sessions) > MOST or now - next(iter(self._sessions.values())).used > IDLE_S:
            self._sessions.popitem(last=False)
