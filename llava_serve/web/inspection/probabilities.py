"""Probabilities of an answer's tokens, as its chunks tell them and as they are kept with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from openai.types.chat import ChatCompletionChunk

MOST_TOKENS = 4096  # of one answer; what comes after them is kept as text alone


@dataclass(frozen=True, slots=True)
class ToldToken:
    """A token, the natural logarithm of its probability, and the likeliest at its place.

    Bytes that are only part of a character are shown as `\\xNN`.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()

    def kept(self) -> list[Any]:
        """Return what is written down of it, as JSON; `restored` makes it of that again."""
        return [self.text, self.logprob, [list(one) for one in self.top]]

    @classmethod
    def restored(cls, kept: Sequence[Any]) -> "ToldToken":
        """Return what `kept` was written down of."""
        text, logprob, top = kept
        return cls(text, logprob, tuple((other, likely) for other, likely in top))


def told_by(chunk: ChatCompletionChunk) -> Iterator[ToldToken]:
    """Yield the tokens that a chunk tells of."""
    for choice in chunk.choices:
        for token in (choice.logprobs and choice.logprobs.content) or ():
            likeliest = (_likely(one.token, one.bytes, one.logprob) for one in token.top_logprobs)
            yield ToldToken(*_likely(token.token, token.bytes, token.logprob), tuple(likeliest))


def _likely(text: str, data: Sequence[int] | None, logprob: float) -> tuple[str, float]:
    shown = text if data is None else bytes(data).decode(errors="backslashreplace")
    return shown, round(logprob, 4)
