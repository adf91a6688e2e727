"""Chat state: the exchanges of one conversation on the page, and what is being done to them."""

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from llava_serve.errors import ServeError
from llava_serve.logins.user import User
from llava_serve.storage.identity import Identity
from llava_serve.storage.media import StoredFile
from llava_serve.web.arena.battle import Battle
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import ReplyHandle, StreamedReply
from llava_serve.web.translations.language import translate

Kind = Literal["chat", "compare", "arena"]
_JUDGED = {"tie": "compare.judged_tie", "both_bad": "compare.judged_both_bad"}


@dataclass(eq=False)
class Exchange:
    """A question with its images and videos, and one answer for each model that was asked."""

    text: str
    files: tuple[StoredFile, ...]
    replies: list[StreamedReply] = field(default_factory=list)
    number: int = 0  # which of its conversation it is, in the database
    turn_id: int | None = None  # the question's row in the database, once it is there
    judged: tuple[str, str | None] | None = None  # in a comparison: the vote, and its model
    # Those in its place, none where it is alone; and what followed it, while it is not shown.
    versions: list["Exchange"] = field(default_factory=list, repr=False)
    tail: list["Exchange"] = field(default_factory=list, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether a reply is still to come, or to end."""
        return any(reply.is_open for reply in self.replies)

    @property
    def failed(self) -> list[int]:
        """The places of the answers that ended with an error."""
        return [slot for slot, reply in enumerate(self.replies) if reply.error is not None]

    @property
    def vote(self) -> str | None:
        """What the page says of the vote of a comparison."""
        if self.judged is None:
            return None
        kind, model = self.judged
        return translate(_JUDGED.get(kind, "compare.judged_better"), model=model)

    def is_left_out(self, slot: int) -> bool:
        """Whether the model in `slot` refused the question: its later requests are without it."""
        return slot < len(self.replies) and self.replies[slot].refused is not None

    @property
    def is_unsent(self) -> bool:
        """Whether it is left out of every model's requests."""
        return bool(self.replies) and all(reply.refused for reply in self.replies)

    def snapshot(self) -> "Exchange":
        """Return a copy that stands still, to be drawn on a thread while the answers grow."""
        copy = replace(self, replies=[replace(reply) for reply in self.replies])
        copy.versions = [copy if one is self else one for one in self.versions]
        return copy


@dataclass(eq=False)
class ChatState:
    """One conversation, the same in every tab of a browser that knows the id.

    Where nobody signs in the id is all that is needed to read it: nothing but chance makes it.
    Otherwise it is its user's alone.
    """

    kind: Kind = "chat"
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    user: User | None = None
    browser: str | None = None  # where nobody signs in
    exchanges: list[Exchange] = field(default_factory=list)
    parameters: Parameters = field(default_factory=Parameters)  # of the answers that are open
    running: ReplyHandle | None = None
    notice: ServeError | None = None  # what went wrong outside any answer
    wanted: tuple[str, ...] = ()  # the models that were chosen, served or not
    has_chosen: bool = False  # whether the user has, and not the page for him
    keeps_address: bool = False  # the browser's address names one that was not found
    is_reserved: bool = False
    before: "ChatState | None" = None  # the one that was cleared for this one
    battle: Battle | None = None  # in the arena, from its first question on
    version: int = 0  # counts what the browser must be told of
    pulse: asyncio.Event = field(default_factory=asyncio.Event)  # set, and replaced, at a change

    def notify(self) -> None:
        """Wake whoever shows the conversation: there is more of an answer."""
        self.pulse, woken = asyncio.Event(), self.pulse
        woken.set()

    def touch(self) -> None:
        """Say that something else has changed than the text of an open answer."""
        self.version += 1
        self.notify()

    def refuse(self, reason: ServeError) -> None:
        """Show why something was not done."""
        self.notice = reason
        self.touch()

    def forget_notice(self) -> None:
        """Show no longer why something was not done: its user has read it, and went on."""
        if self.notice is not None:
            self.notice = None
            self.touch()

    @property
    def owner(self) -> str | None:
        """Whom it belongs to in the database."""
        return None if self.user is None else self.user.owner

    @property
    def identity(self) -> Identity:
        """Whose it is in the list of conversations."""
        return Identity(self.owner, self.browser)

    @property
    def asks_as(self) -> str:
        """What tells the controller whose requests are one user's, and not who that is."""
        if self.user is not None:
            return self.user.opaque
        return hashlib.sha256(self.id.encode()).hexdigest()[:32]

    @property
    def is_blind(self) -> bool:
        """Whether nothing that leaves the server may tell which models answer."""
        return self.kind == "arena" and (self.battle is None or self.battle.winner is None)

    @property
    def last(self) -> Exchange | None:
        """The newest exchange."""
        return self.exchanges[-1] if self.exchanges else None

    @property
    def asked(self) -> Parameters | None:
        """What the last question was asked with."""
        return self.parameters if self.exchanges else None

    @property
    def is_busy(self) -> bool:
        """Whether an answer is open, or something that takes time is being done."""
        return self.is_reserved or (self.last is not None and self.last.is_open)

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Keep everything else away from the conversation while the block waits for something.

        To be entered by whoever has just seen `is_reserved` false, without a wait between the two.
        """
        self.is_reserved = True
        try:
            yield
        finally:
            self.is_reserved = False
            self.touch()

    @property
    def can_undo(self) -> bool:
        """Whether the one that was cleared for this one can be brought back."""
        return not self.is_busy and self.before is not None

    def cleared(self) -> "ChatState":
        """Return an empty one with the same choices, which can bring this one back."""
        return ChatState(
            kind=self.kind,
            user=self.user,
            browser=self.browser,
            parameters=self.parameters,
            wanted=self.wanted,
            has_chosen=self.has_chosen,
            before=self if self.exchanges else None,
        )

    def empty(self) -> None:
        """Forget what was said, wherever it is shown: it was deleted."""
        self.exchanges.clear()
        self.notice = self.battle = None
        self.touch()

    def stop(self) -> None:
        """End what runs; an answer that has not begun ends before it does."""
        if self.running is not None:
            self.running.stop()
        elif self.last is not None:
            for reply in self.last.replies:
                if reply.state == "waiting":
                    reply.state = "stopped"
            self.touch()
