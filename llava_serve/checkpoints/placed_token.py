"""Placed token: a token of a text, and which of its characters it was read from."""

from typing import NamedTuple


class PlacedToken(NamedTuple):
    """`start` to `end` are characters of the text, counted from 0 and without the one at `end`.

    Several tokens may be of one character, and some are of none: those that a tokenizer adds
    before a text, and all but the last of the bytes of a character.
    """

    id: int
    start: int
    end: int
