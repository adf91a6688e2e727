"""Fair queue: requests that wait for a slot, in deficit round robin over who sent them.

Each owner (an API key) has a line of its own. Lines take turns; with each turn an owner may spend a
quantum of tokens, and what a request costs beyond it is waited for in further turns. So whoever has
a thousand requests waiting delays another's first by one request and not by a thousand.

Source: Shreedhar and Varghese, "Efficient Fair Queuing using Deficit Round Robin", 1995.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")

QUANTUM = 1000.0  # tokens: about one question with a picture and its answer


@dataclass(eq=False, slots=True)
class _Line(Generic[Item]):
    owner: str
    waiting: deque["Ticket[Item]"] = field(default_factory=deque)
    deficit: float = 0.0


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
        self._lines: dict[str, _Line[Item]] = {}  # in the order of their turns
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, owner: str, cost: float, item: Item) -> Ticket[Item]:
        """Let a request wait behind those of its owner."""
        ticket = Ticket(owner, cost, item)
        if (line := self._lines.get(owner)) is None:
            line = self._lines[owner] = _Line(owner)
        line.waiting.append(ticket)
        self._count += 1
        return ticket

    def pop(self) -> Ticket[Item]:
        """Return whose turn it is.

        Raises:
            IndexError: nobody waits.
        """
        if not self._count:
            raise IndexError("nobody waits")
        while True:
            line = next(iter(self._lines.values()))
            if line.deficit < line.waiting[0].cost:
                line.deficit += self._quantum
                self._to_the_end(line)
                continue
            ticket = line.waiting.popleft()
            line.deficit -= ticket.cost
            self._left(line)
            return ticket

    def remove(self, ticket: Ticket[Item]) -> bool:
        """Take a request out whose client has left; False where it had its turn already."""
        line = self._lines.get(ticket.owner)
        if line is None or ticket not in line.waiting:
            return False
        line.waiting.remove(ticket)
        self._left(line)
        return True

    def position(self, ticket: Ticket[Item]) -> int:
        """Return how many will have a turn before it if all cost the same; it must be waiting."""
        own = self._lines[ticket.owner].waiting.index(ticket)
        others = (line for owner, line in self._lines.items() if owner != ticket.owner)
        return own + sum(min(len(line.waiting), own + 1) for line in others)

    def _to_the_end(self, line: _Line[Item]) -> None:
        self._lines[line.owner] = self._lines.pop(line.owner)

    def _left(self, line: _Line[Item]) -> None:
        self._count -= 1
        if not line.waiting:  # who waits for nothing saves nothing up
            del self._lines[line.owner]
