"""Drift between two answers to one request: where they part, and how far they are apart."""

import math
from dataclasses import dataclass

from llava_serve.replaying.recording import RecordedAnswer, RecordedToken

_LEAST = 1e-9  # of a probability that is left over


@dataclass(frozen=True, slots=True)
class Drift:
    """How far an answer is from the recorded one, in nats.

    `first_difference` is the first token that is another one, counted from 0, None where all are
    the same; `max_logprob` and `mean_logprob` are differences of the recorded tokens'
    log-probabilities up to there, infinite where the other answer tells none. `mean_kl` is of
    the likeliest tokens' distributions, None where there are none; all others count as one, so that
    it is never more than that of the whole vocabulary. `prompt_tokens` is the number before and
    after, where it differs.
    """

    name: str
    first_difference: int | None
    max_logprob: float
    mean_logprob: float
    mean_kl: float | None
    before: str
    after: str
    prompt_tokens: tuple[int, int] | None = None

    def exceeds(self, tolerance: float) -> bool:
        """Tell whether it is past a tolerance; other words within it are a tie that was decided."""
        return self.max_logprob > tolerance or self.prompt_tokens is not None


def drift_of(name: str, before: RecordedAnswer, after: RecordedAnswer) -> Drift:
    """Compare an answer with the recorded one."""
    pairs = list(zip(before.tokens, after.tokens, strict=False))
    first = next((i for i, (one, other) in enumerate(pairs) if one.token != other.token), None)
    compared = pairs if first is None else pairs[: first + 1]
    moved = [abs(one.logprob - _logprob_of(one.token, other)) for one, other in compared]
    if first is None and len(before.tokens) != len(after.tokens):
        first = len(pairs)  # one ends where the other goes on: how likely that was is not told
        moved.append(math.inf)
    kls = [_kl(one, other) for one, other in compared if one.top and other.top]
    counts = (before.prompt_tokens, after.prompt_tokens)
    return Drift(
        name,
        first,
        max(moved, default=0.0),
        sum(moved) / len(moved) if moved else 0.0,
        sum(kls) / len(kls) if kls else None,
        before.text,
        after.text,
        None if None in counts or counts[0] == counts[1] else counts,  # type: ignore[arg-type]
    )


def _logprob_of(token: str, place: RecordedToken) -> float:
    """Return a token's log-probability; where it is not told, the least of those that are."""
    return place.known.get(token, min(place.top.values(), default=-math.inf))


def _kl(one: RecordedToken, other: RecordedToken) -> float:
    """Return the KL divergence over the tokens that both tell, and all others as one."""
    shared = one.known.keys() & other.known.keys()
    p = [math.exp(one.known[token]) for token in shared]
    q = [math.exp(other.known[token]) for token in shared]
    p.append(max(1 - sum(p), _LEAST))
    q.append(max(1 - sum(q), _LEAST))
    return max(sum(x * math.log(x / y) for x, y in zip(p, q, strict=True)), 0.0)
