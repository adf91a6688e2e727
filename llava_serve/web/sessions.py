"""The conversations of every browser tab, through sleep and lost connections."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llava_serve.web.conversation import Conversation

MOST = 2000  # tabs; beyond it the one that was silent longest is forgotten
IDLE_S = 24 * 3600  # an open tab asks for the models every two seconds, unless its machine sleeps


@dataclass
class Session:
    """What one tab has on the server."""

    chat: Conversation
    compare: Conversation
    used: float  # seconds on the clock of `Sessions`


class Sessions:
    """Not a `gr.State`: Gradio deletes those of a tab whose connection was ever interrupted.

    The key is the random name that Gradio's script gives to each load of the page.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def open(self, name: str, models: Sequence[str]) -> Session:
        """Return the session of a page that has just loaded; `models` are its first choices."""
        if name not in self._sessions:
            chat = Conversation(wanted=tuple(models[:1]))
            self._add(name, chat, Conversation(wanted=tuple(models[:4])))
        return self.of(name)

    def of(self, name: str) -> Session:
        """Return a tab's session; one that is not known, or no longer, begins anew as lost."""
        now = self._clock()
        if name not in self._sessions:
            self._add(name, Conversation(is_lost=True), Conversation(is_lost=True))
        session = self._sessions[name]
        session.used = now
        self._sessions.move_to_end(name)
        self._forget(now)
        return session

    def _add(self, name: str, chat: Conversation, compare: Conversation) -> None:
        self._sessions[name] = Session(chat, compare, self._clock())

    def _forget(self, now: float) -> None:
        oldest = next(iter(self._sessions.values()))
        while len(self._sessions) > MOST or now - oldest.used > IDLE_S:
            self._sessions.popitem(last=False)
            oldest = next(iter(self._sessions.values()))
