"""Fair queue: requests that wait for a slot, in deficit round robin over who sent them.

Each owner (an API key, a user, an address) has a line of its own. Lines take turns; with each turn
an owner may spend a quantum of tokens, and pays for what a request costs beyond it with further
turns. Whoever has nothing running or waiting has a first turn before all others: a thousand
requests of one owner do not delay another's first.

Source: Shreedhar and Varghese, "Efficient Fair Queuing using Deficit Round Robin", 1995; lines that
are new come first as in RFC 8290, section 4.2.
"""

import itertools
from collections import Counter, deque
from collections.abc import Container, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")

QUANTUM = 1000.0  # tokens: about one question with a picture and its answer
_MOST_QUANTA = 32  # of one request: what bounds the work of a turn


@dataclass(eq=False, slots=True)
class _OwnerLine(Generic[Item]):
    owner: str
    deficit: float
    waiting: deque["Ticket[Item]"] = field(default_factory=deque)


@dataclass(eq=False, slots=True)
class Ticket(Generic[Item]):
    """One request that waits; `cost` is the tokens it is expected to take.

    What can be served alike is of one `kind`.
    """

    owner: str
    cost: float
    item: Item
    kind: Hashable


class FairQueue(Generic[Item]):
    """All takes constant time but `position`, `remove`, and a `peek` past what is blocked."""

    def __init__(self, quantum: float = QUANTUM) -> None:
        self._quantum = quantum
        # Both in the order of their turns. A line is new until its first request leaves it; an old
        # one stays while its debt does, empty or not.
        self._new: dict[str, _OwnerLine[Item]] = {}
        self._old: dict[str, _OwnerLine[Item]] = {}
        self._kinds: Counter[Hashable] = Counter()  # of what waits

    def __len__(self) -> int:
        return self._kinds.total()

    def push(
        self, owner: str, cost: float, item: Item, kind: Hashable = None, *, is_served: bool = False
    ) -> Ticket[Item]:
        """Let a request wait behind those of its owner; one that is served already is not new."""
        ticket = Ticket(owner, min(cost, _MOST_QUANTA * self._quantum), item, kind)
        if (line := self._line(owner)) is None:
            line = _OwnerLine(owner, deficit=self._quantum)
            lines = self._old if is_served else self._new
            lines[owner] = line
        line.waiting.append(ticket)
        self._kinds[kind] += 1
        return ticket

    def peek(self, blocked: Container[Hashable] = ()) -> Ticket[Item] | None:
        """Return whose turn is next; None where nobody waits.

        Requests of a `blocked` kind are passed over, and their owners keep their place.
        """
        while any(kind not in blocked for kind in self._kinds):
            found, over = None, []
            for line in itertools.chain(self._new.values(), self._old.values()):
                if line.deficit <= 0 or not line.waiting:
                    over.append(line)
                elif found := next((one for one in line.waiting if one.kind not in blocked), None):
                    break
            for line in over:
                self._end_turn(line)
            if found is not None:
                return found
        return None

    def pop(self) -> Ticket[Item]:
        """Take out whose turn it is.

        Raises:
            IndexError: nobody waits.
        """
        if (ticket := self.peek()) is None:
            raise IndexError("nobody waits")
        self.take(ticket)
        return ticket

    def take(self, ticket: Ticket[Item]) -> None:
        """Give its turn to one that `peek` returned."""
        if (line := self._new.pop(ticket.owner, None)) is not None:
            self._old[ticket.owner] = line
        else:
            line = self._old[ticket.owner]
        line.waiting.remove(ticket)
        line.deficit -= ticket.cost
        self._left(ticket)

    def remove(self, ticket: Ticket[Item]) -> bool:
        """Take a request out whose client has left; False where it had its turn already."""
        line = self._line(ticket.owner)
        if line is None or ticket not in line.waiting:
            return False
        line.waiting.remove(ticket)
        self._left(ticket)
        return True

    def waiting_of(self, owner: str) -> int:
        """Return how many requests of an owner wait."""
        line = self._line(owner)
        return 0 if line is None else len(line.waiting)

    def position(self, ticket: Ticket[Item]) -> int:
        """Return how many will have a turn before it if all cost the same; it must be waiting."""
        line = self._line(ticket.owner)
        assert line is not None
        own = line.waiting.index(ticket)
        if not own and ticket.owner in self._new:
            return list(self._new).index(ticket.owner)
        others = [*self._new.values(), *self._old.values()]
        return own + sum(min(len(one.waiting), own + 1) for one in others if one is not line)

    def _line(self, owner: str) -> _OwnerLine[Item] | None:
        return self._new.get(owner) or self._old.get(owner)

    def _end_turn(self, line: _OwnerLine[Item]) -> None:
        lines = self._new if line.owner in self._new else self._old
        del lines[line.owner]
        if line.deficit <= 0:
            line.deficit += self._quantum
            self._old[line.owner] = line

    def _left(self, ticket: Ticket[Item]) -> None:
        self._kinds[ticket.kind] -= 1
        if not self._kinds[ticket.kind]:
            del self._kinds[ticket.kind]
        if not self._kinds:  # where nobody waits nobody owes anything
            self._new.clear()
            self._old.clear()
