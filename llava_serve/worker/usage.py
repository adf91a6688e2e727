"""Usage of an answer so far, for a controller that asks for it."""

from collections.abc import Mapping

from llava_serve.protocol.usage import HEADER, TokenCounts
from llava_serve.request import Delta, Usage

_TOLD_EVERY = 16  # deltas: what a client that leaves is charged is right but for so many tokens


class UsageTally:
    """Adds up the answers to each prompt, which counts once."""

    def __init__(self) -> None:
        self._prompts: dict[int, Usage] = {}
        self._completions: dict[int, int] = {}  # by the answer's index
        self._deltas = 0

    @classmethod
    def asked_for(cls, headers: Mapping[str, str]) -> "UsageTally | None":
        """Return a tally where the request's headers ask for one."""
        return cls() if HEADER in headers else None

    @property
    def so_far(self) -> TokenCounts | None:
        """What was generated so far; None before the first delta that says it."""
        if not (prompts := self._prompts.values()):
            return None
        return TokenCounts(
            sum(usage.prompt_tokens for usage in prompts),
            sum(self._completions.values()),
            sum(usage.image_tokens for usage in prompts),
        )

    def add(self, delta: Delta) -> bool:
        """Count a delta; True where the controller is to be told."""
        self._deltas += 1
        if (usage := delta.so_far or delta.usage) is not None:
            self._prompts[delta.prompt_index] = usage
            self._completions[delta.index] = usage.completion_tokens
        return delta.usage is not None or self._deltas % _TOLD_EVERY == 1
