"""Fair queue: requests that wait for a slot, in deficit round robin over who sent them.

Each owner (an API key, a user, an address) has a line of its own. Lines take turns; with each turn
an owner may spend a quantum of tokens, and pays for what a request costs beyond it with further
turns. Whoever has nothing running or waiting has a first turn before all others: a thousand
requests of one owner do not delay another's first.

Source: Shreedhar and Varghese, "Efficient Fair Queuing using Deficit Round Robin", 1995; lines that
are new come first as in RFC 8290, section 4.2.
"""

from collections import deque
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
    """One request that waits; `cost` is the tokens it is expected to take."""

    owner: str
    cost: float
    item: Item


class FairQueue(Generic[Item]):
    """Everything takes constant time but `position` and `remove`, which look at the owners."""

    def __init__(self, quantum: float = QUANTUM) -> None:
        self._quantum = quantum
        # Both in the order of their turns. A line is new until its first request leaves it; an old
        # one stays while its debt does, empty or not.
        self._new: dict[str, _OwnerLine[Item]] = {}
        self._old: dict[str, _OwnerLine[Item]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, owner: str, cost: float, item: Item, *, is_served: bool = False) -> Ticket[Item]:
        """Let a request wait behind those of its owner; one that is served already is not new."""
        ticket = Ticket(owner, min(cost, _MOST_QUANTA * self._quantum), item)
        if (line := self._line(owner)) is None:
            line = _OwnerLine(owner, deficit=self._quantum)
            lines = self._old if is_served else self._new
            lines[owner] = line
        line.waiting.append(ticket)
        self._count += 1
        return ticket

    def peek(self) -> Ticket[Item] | None:
        """Return whose turn is next; None where nobody waits."""
        while self._count:
            lines = self._new or self._old
            line = next(iter(lines.values()))
            if line.waiting and line.deficit > 0:
                return line.waiting[0]
            del lines[line.owner]
            if line.deficit <= 0:
                line.deficit += self._quantum
                self._old[line.owner] = line
        return None

    def pop(self) -> Ticket[Item]:
        """Take out whose turn it is.

        Raises:
            IndexError: nobody waits.
        """
        if (ticket := self.peek()) is None:
            raise IndexError("nobody waits")
        if (line := self._new.pop(ticket.owner, None)) is not None:
            self._old[ticket.owner] = line
        else:
            line = self._old[ticket.owner]
        line.waiting.popleft()
        line.deficit -= ticket.cost
        self._left()
        return ticket

    def remove(self, ticket: Ticket[Item]) -> bool:
        """Take a request out whose client has left; False where it had its turn already."""
        line = self._line(ticket.owner)
        if line is None or ticket not in line.waiting:
            return False
        line.waiting.remove(ticket)
        self._left()
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

    def _left(self) -> None:
        self._count -= 1
        if not self._count:  # where nobody waits nobody owes anything
            self._new.clear()
            self._old.clear()
