"""Stop strings on a stream of text: what may be shown, what must wait, and when the answer ends."""

from collections.abc import Sequence


class StopMatcher:
    """Finds the stop string that is complete first, in text that arrives in any cut.

    Text that could still become a stop string is held back, so a part of one is never shown, and
    nothing else waits. Where the text was cut makes no difference. `unshown` is what is held back
    or, once `stopped`, does not belong to the answer: the stop string `found` and what came behind.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self.unshown = ""
        self.found: str | None = None

    @property
    def stopped(self) -> bool:
        return self.found is not None

    def feed(self, text: str) -> str:
        """Take new text and return what is certain to belong to the answer."""
        if self.stopped:
            return ""
        text = self.unshown + text
        ends = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            _, shown, self.found = min(ends)
        else:
            shown = len(text) - self._partial(text)
        self.unshown = text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """Return what was held back: the stream is over and nothing can complete it."""
        if self.stopped:
            return ""
        held, self.unshown = self.unshown, ""
        return held

    def _partial(self, text: str) -> int:
        """Return the length of the longest end of `text` that begins a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
