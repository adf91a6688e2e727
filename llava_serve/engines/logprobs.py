"""Logprob buffer: log probabilities wait until the text of their tokens is shown."""

from collections.abc import Iterable

from llava_serve.request import TokenLogprob


class LogprobBuffer:
    """Holds logprobs until something of their token's text is shown, which a stop may prevent."""

    def __init__(self) -> None:
        self._held: list[TokenLogprob] = []

    def add(self, logprobs: Iterable[TokenLogprob]) -> None:
        """Take what comes next, in the order of the text."""
        self._held.extend(logprobs)

    def take(self, unshown_bytes: int) -> tuple[TokenLogprob, ...]:
        """Return those whose text is shown, but for `unshown_bytes` at its end, in UTF-8."""
        count = len(self._held)
        while count and unshown_bytes > 0 and len(self._held[count - 1].data) <= unshown_bytes:
            count -= 1
            unshown_bytes -= len(self._held[count].data)
        taken, self._held = tuple(self._held[:count]), self._held[count:]
        return taken
