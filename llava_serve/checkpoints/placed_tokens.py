"""Placed tokens: the tokens of a text, and which of its characters each was read from."""

from dataclasses import dataclass, field

TextPlace = tuple[int, int]  # from, up to and without: characters, counted from 0


@dataclass(slots=True)
class PlacedTokens:
    """`places` has that of each token where it was asked for, and else is empty.

    Several tokens may be of one character, and some are of none: those that a tokenizer adds
    before a text, and all but the last of the bytes of a character.
    """

    ids: list[int] = field(default_factory=list)
    places: list[TextPlace] = field(default_factory=list)

    def add(self, others: "PlacedTokens", start: int = 0) -> None:
        """Add the tokens of a text that stands at `start`."""
        self.ids += others.ids
        self.places += others.places if not start else moved(others.places, start)


def moved(places: list[TextPlace], start: int) -> list[TextPlace]:
    """Return the places in a longer text, in which this one stands at `start`; none below 0."""
    return [(max(first + start, 0), max(last + start, 0)) for first, last in places]
