"""Versions of an exchange: those asked in one place, each with the exchanges that followed it.

A conversation is the list of exchanges that is shown. Each of them knows the `versions` in its
place; one that is not shown keeps in its `tail` what followed it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from llava_serve.web.chat_state import Exchange

Of = Literal["question", "answer"]
"""Versions of a question differ in text or files; those of an answer were asked the same."""


@dataclass(frozen=True)
class Position:
    """Which version is shown, counted from 1, and of how many."""

    number: int
    count: int


def every(exchanges: Sequence[Exchange]) -> Iterator[tuple[Exchange, Exchange | None]]:
    """Yield all exchanges, shown or not, each after the one it follows, and with that."""
    chains: list[tuple[Sequence[Exchange], Exchange | None]] = [(exchanges, None)]
    while chains:
        chain, before = chains.pop()
        for one in chain:
            for version in one.versions or [one]:
                yield version, before
                if version is not one:
                    chains.append((version.tail, version))
            before = one


def put_in_place(exchanges: list[Exchange], index: int, new: Exchange) -> list[Exchange]:
    """Show another version in a place, with what followed it; return what is hidden by that."""
    hidden = exchanges[index:]
    if hidden:
        old = hidden[0]
        versions = old.versions or [old]
        if new not in versions:
            versions.append(new)
        for one in versions:
            one.versions = versions
        old.tail = hidden[1:]
    exchanges[index:] = [new, *new.tail]
    new.tail = []
    return hidden


def turn_ids(exchanges: Iterable[Exchange]) -> list[int | None]:
    """Return the rows of exchanges in the database; None for those that are not there."""
    return [
        turn_id
        for one in exchanges
        for turn_id in (one.turn_id, *(reply.turn_id for reply in one.replies))
    ]


def position(exchange: Exchange, of: Of) -> Position:
    """Return where an exchange stands among the versions of its question or of its answer."""
    groups = _groups(exchange)
    (its,) = (number for number, group in enumerate(groups) if exchange in group)
    if of == "question":
        return Position(its + 1, len(groups))
    return Position(groups[its].index(exchange) + 1, len(groups[its]))


def neighbour(exchange: Exchange, of: Of, step: int) -> Exchange | None:
    """Return the version so many steps on from an exchange; None beyond the first and the last.

    Of several answers to another question it is the newest.
    """
    groups = _groups(exchange)
    (its,) = (group for group in groups if exchange in group)
    found = [group[-1] for group in groups] if of == "question" else its
    place = position(exchange, of).number - 1 + step
    return found[place] if 0 <= place < len(found) else None


def _groups(exchange: Exchange) -> list[list[Exchange]]:
    """Return the versions, those with the same question together."""
    groups: dict[tuple[str, tuple[str, ...]], list[Exchange]] = {}
    for version in exchange.versions or [exchange]:
        question = version.text, tuple(file.sha256 for file in version.files)
        groups.setdefault(question, []).append(version)
    return list(groups.values())
