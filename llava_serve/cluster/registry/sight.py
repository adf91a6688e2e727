"""Sight of a worker: whether what it answers depends on the picture, judged by its answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Nats. A model that sees moves its log-probabilities by 1 and more when a picture is swapped; one
# that does not by what rounding does, which is at most some hundredths.
_ROUNDING = 0.1
_MANY_ROUNDINGS = 3.0  # times what the same question, asked twice, moves
_UNREPEATABLE = 0.5  # nats between two answers to the same question
_FAR = 1e6  # nats from 0, where no log-probability is


@dataclass(frozen=True, slots=True)
class Sight:
    """`sees` is None while nobody knows; `reason` says why it is as it is, to an operator."""

    sees: bool | None
    reason: str


NOT_ASKED = Sight(None, "it has not been asked about pictures yet")
SEES = Sight(True, "its answers follow the pictures")


@dataclass(frozen=True, slots=True)
class CanaryAnswer:
    """One greedy answer; for each of its tokens the log-probabilities of the likeliest there."""

    text: str
    logprobs: tuple[tuple[str, dict[str, float]], ...] = ()

    @classmethod
    def of(cls, completion: Any) -> "CanaryAnswer":
        """Read a chat completion; log-probabilities that are no numbers are left out.

        Raises:
            LookupError, TypeError: it is none.
        """
        choice = completion["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, str):
            raise TypeError("the answer is no text")
        tokens = (choice.get("logprobs") or {}).get("content") or ()
        logprobs = tuple((token["token"], _likeliest(token)) for token in tokens)
        return cls(text, logprobs if all(likely for _, likely in logprobs) else ())


def _likeliest(token: Any) -> dict[str, float]:
    told = [token, *(token.get("top_logprobs") or ())]
    values = {one["token"]: one["logprob"] for one in told}
    are_numbers = all(isinstance(v, int | float) and abs(v) < _FAR for v in values.values())
    return values if are_numbers else {}


def moved(one: CanaryAnswer, other: CanaryAnswer) -> float:
    """Return how far two answers to one question are apart, in nats.

    It is the mean difference of the likeliest tokens' log-probabilities, at that place up to the
    first different token where it is largest; without log-probabilities, 0 or infinite by the text.
    A token that only one list has counts as the other list's least likely.
    """
    if not (one.logprobs and other.logprobs):
        return 0.0 if one.text.strip() == other.text.strip() else math.inf
    furthest = 0.0
    for (token, here), (other_token, there) in zip(one.logprobs, other.logprobs, strict=False):
        least_here, least_there = min(here.values()), min(there.values())
        tokens = here.keys() | there.keys()
        apart = sum(abs(here.get(t, least_here) - there.get(t, least_there)) for t in tokens)
        furthest = max(furthest, apart / len(tokens))
        if token != other_token:
            break
    return furthest


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers to one question about a picture, about another one, and about the first again."""

    first: CanaryAnswer
    swapped: CanaryAnswer
    again: CanaryAnswer

    @property
    def by_swap(self) -> float:
        """How far another picture moves the answer, in nats."""
        return moved(self.first, self.swapped)

    @property
    def by_chance(self) -> float:
        """How far nothing moves it, in nats."""
        return moved(self.first, self.again)

    @property
    def depends(self) -> bool:
        """True where the swap moves it by more than rounding and chance do."""
        return self.by_swap > max(_ROUNDING, _MANY_ROUNDINGS * self.by_chance)

    @property
    def shows_sight(self) -> bool:
        """True where other words are answered too."""
        return self.depends and self.first.text.strip() != self.swapped.text.strip()


def judge(comparisons: Sequence[Comparison]) -> Sight:
    """Judge a worker by its answers to several questions.

    One question that it answers by the picture is enough; it is blind where no answer depends on
    the picture at all. Where the words stay and their probabilities move, that says too little: a
    model may know neither colours nor digits.
    """
    if any(one.shows_sight for one in comparisons):
        return SEES
    answers = " and ".join(repr(one.first.text.strip()[:40]) for one in comparisons)
    if any(one.by_chance > _UNREPEATABLE for one in comparisons):
        return Sight(None, f"it answers one question twice differently: {answers}")
    most = max(one.by_swap for one in comparisons)
    if any(one.depends for one in comparisons):
        return Sight(
            None,
            f"it answers {answers} whatever the pictures show, but less surely (log-probabilities "
            f"move by {most:.2g})",
        )
    return Sight(
        False,
        f"it answers {answers} whatever the pictures show (log-probabilities move by {most:.2g}): "
        "its vision tower, its projector or its picture cache is at fault",
    )
