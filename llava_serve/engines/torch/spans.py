"""Which tokens of the KV cache belong to whom: spans, handed out and taken back. No torch in here.

A running request holds a span, which grows with it. When the request ends, the span stays as a
prefix that later requests can start from, until its room is needed; the one used longest ago goes
first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]
NOTHING: Keys = np.empty(0, np.int64)
_WORTH_WAITING = 16  # tokens: reading fewer takes about one step anyway


@dataclass(eq=False, slots=True)
class Span:
    """Places `start` to `start + capacity` of the cache; the first `len(keys)` are filled.

    A key says what stands at a place: a token's id, or a negative number for a row of a picture.
    `coming` are the keys that a request whose prompt is being read will have filled soon.
    """

    start: int
    capacity: int
    keys: Keys = field(default_factory=lambda: NOTHING)
    coming: Keys = field(default_factory=lambda: NOTHING)
    is_held: bool = True
    last_used: int = 0

    @property
    def end(self) -> int:
        return self.start + self.capacity


@dataclass(frozen=True, slots=True)
class Grant:
    """A span for a request, of which the first `reused` places need no computing.

    They are there already, or must be copied from the place `copy_from` on first.
    """

    span: Span
    reused: int
    copy_from: int | None = None


class Spans:
    """The places 0 to `total` of a KV cache."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._spans: list[Span] = []  # by start
        self._clock = 0

    @property
    def held(self) -> int:
        """Places of running requests."""
        return sum(span.capacity for span in self._spans if span.is_held)

    @property
    def cached(self) -> int:
        """Places that hold the prefixes of ended requests."""
        return sum(span.capacity for span in self._spans if not span.is_held)

    def comes_soon(self, keys: Keys) -> bool:
        """Say whether another request is just reading what these `keys` begin with."""
        _, shared = self._longest_prefix(keys[:-1])
        enough = shared + _WORTH_WAITING
        return any(common_prefix(span.coming, keys[:-1]) > enough for span in self._spans)

    def grant(self, keys: Keys, capacity: int) -> Grant | None:
        """Give a span to a request whose tokens have these `keys`; None when there is no room.

        At least the last token is left to compute, for its logits.
        """
        source, shared = self._longest_prefix(keys[:-1])
        takes_over = source is not None and not source.is_held and 2 * shared >= len(source.keys)
        if source is not None and takes_over and self._grow(source, capacity):
            return self._granted(source, keys, shared)
        spared = source if source is not None and not source.is_held else None
        span = self._allocate(capacity, spared)
        if span is None and spared is not None:
            span, source = self._allocate(capacity, None), None
        if span is None:
            return None
        if source is None or shared == 0:
            return self._granted(span, keys, 0)
        self._touch(source)
        return self._granted(span, keys, shared, copy_from=source.start)

    def extend(self, span: Span, capacity: int) -> Grant | None:
        """Make a held span larger, maybe elsewhere; None when there is no room.

        The places it has filled must be copied if the grant says so.
        """
        filled = span.capacity
        if self._grow(span, capacity):
            return Grant(span, filled)
        moved = self._allocate(capacity, None)
        if moved is None:
            return None
        self._spans.remove(span)
        moved.keys, moved.coming = span.keys, span.coming
        self._touch(moved)
        return Grant(moved, filled, copy_from=span.start)

    def release(self, span: Span, keys: Keys) -> None:
        """Take back what an ended request held; `keys` say what of it is filled."""
        span.keys, span.coming = keys, NOTHING
        span.capacity = len(keys)
        span.is_held = False
        self._touch(span)
        others = [other for other in self._spans if other is not span]
        if not len(keys) or any(_begins_with(other.keys, keys) for other in others):
            self._spans = others  # another holds the same

    def _longest_prefix(self, keys: Keys) -> tuple[Span | None, int]:
        best, longest = None, 0
        for span in self._spans:
            shared = common_prefix(span.keys, keys)
            # Of equals one that nobody holds is better: it need not be copied.
            if shared > longest or (shared == longest > 0 and not span.is_held):
                best, longest = span, shared
        return best, longest

    def _grow(self, span: Span, capacity: int) -> bool:
        """Make room for `capacity` places behind the start of `span`, where only prefixes lie."""
        end = span.start + capacity
        if end > self.total:
            return False
        behind = [other for other in self._spans if span.start < other.start < end]
        if any(other.is_held for other in behind):
            return False
        self._spans = [other for other in self._spans if other not in behind]
        span.capacity = capacity
        return True

    def _allocate(self, capacity: int, spared: Span | None) -> Span | None:
        """Find `capacity` free places in a row, if need be where the oldest prefixes lie."""
        evictable = sorted(
            (span for span in self._spans if not span.is_held and span is not spared),
            key=lambda span: span.last_used,
        )
        for count in range(len(evictable) + 1):
            kept = [span for span in self._spans if span not in evictable[:count]]
            start = _gap(kept, capacity, self.total)
            if start is not None:
                span = Span(start, capacity)
                # What was evicted only to open another gap stays.
                clear = [old for old in self._spans if old.end <= start or old.start >= span.end]
                self._spans = sorted([*clear, span], key=lambda each: each.start)
                return span
        return None

    def _granted(self, span: Span, keys: Keys, reused: int, copy_from: int | None = None) -> Grant:
        span.keys, span.coming = keys[:reused], keys
        span.is_held = True
        self._touch(span)
        return Grant(span, reused, copy_from)

    def _touch(self, span: Span) -> None:
        self._clock += 1
        span.last_used = self._clock


def common_prefix(one: Keys, two: Keys) -> int:
    """Count the places on which two sequences agree, from the first on."""
    length = min(len(one), len(two))
    differs = one[:length] != two[:length]
    return int(differs.argmax()) if differs.any() else length


def _begins_with(keys: Keys, beginning: Keys) -> bool:
    return common_prefix(keys, beginning) == len(beginning)


def _gap(spans: Sequence[Span], capacity: int, total: int) -> int | None:
    """Return where the first gap of that size starts."""
    start = 0
    for span in spans:
        if span.start - start >= capacity:
            return start
        start = span.end
    return start if total - start >= capacity else None
