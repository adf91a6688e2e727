"""Logits become tokens: one vectorised choice for a batch whose rows have their own settings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from llava_serve.errors import EngineFailure
from llava_serve.request import SamplingParams

_COLDEST = 1e-5  # below it, logits divided by the temperature leave float32


@dataclass(frozen=True, slots=True)
class Chooser:
    """One request's settings and its own source of randomness."""

    sampling: SamplingParams
    generator: torch.Generator

    @classmethod
    def of(cls, sampling: SamplingParams) -> "Chooser":
        """Seed from the request, or from the system when it gives no seed."""
        generator = torch.Generator()  # on the CPU: the same numbers on every device
        if sampling.seed is None:
            generator.seed()
        else:
            generator.manual_seed(sampling.seed)
        return cls(sampling, generator)


@dataclass(frozen=True, slots=True)
class Scores:
    """Log probabilities at one place: of the chosen token, and of the most probable ones."""

    chosen: float
    top: tuple[tuple[int, float], ...]  # (token, its log probability), best first


@torch.inference_mode()
def score(logits: torch.Tensor, token: int, top: int) -> Scores:
    """Say how probable the model held `token` and the `top` best; `logits` (vocabulary,)."""
    logprobs = logits.log_softmax(dim=-1)
    best = logprobs.topk(min(top, len(logprobs)))
    return Scores(
        float(logprobs[token]), tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    )


@torch.inference_mode()
def without(logits: torch.Tensor, forbidden: Sequence[Collection[int]]) -> torch.Tensor:
    """Make some tokens of each row impossible; `logits` (batch, vocabulary) stay as they are."""
    if not any(forbidden):
        return logits
    logits = logits.clone()
    for row, tokens in zip(logits, forbidden, strict=True):
        row[[token for token in tokens if token < len(row)]] = -torch.inf
    return logits


@torch.inference_mode()
def choose(
    logits: torch.Tensor, choosers: Sequence[Chooser], histories: Sequence[Sequence[int]]
) -> list[int]:
    """Choose the next token of each request.

    A request gets the same token alone and in any batch: its row depends on nothing else.

    Args:
        logits: float32 (batch, vocabulary).
        choosers: one for each row.
        histories: tokens of prompt and answer of each row, for the repetition penalty.
    """
    settings = [chooser.sampling for chooser in choosers]
    logits = _penalised(logits, settings, histories)
    if not logits.amax(dim=-1).isfinite().all():
        raise EngineFailure("the model computed no number; its weights or precision are at fault")
    greedy = logits.argmax(dim=-1)
    if all(_is_greedy(each) for each in settings):
        return [int(token) for token in greedy]

    def column(values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, device=logits.device)[:, None]

    temperature = column([1.0 if _is_greedy(each) else each.temperature for each in settings])
    ordered, tokens = (logits / temperature).sort(dim=-1, descending=True, stable=True)
    vocabulary = logits.shape[-1]
    rank = torch.arange(vocabulary, device=logits.device)
    ordered = ordered.masked_fill(
        rank >= column([min(each.top_k or vocabulary, vocabulary) for each in settings]), -torch.inf
    )
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    is_first = rank == 0  # rounding must never leave nothing to choose from
    kept = (before < column([each.top_p for each in settings])) | is_first
    mass = probabilities.masked_fill(~kept, 0).cumsum(dim=-1)
    drawn = torch.stack([torch.rand((), generator=each.generator) for each in choosers])
    threshold = drawn.to(logits.device)[:, None] * mass[:, -1:]
    position = (mass <= threshold).sum(dim=-1, keepdim=True)
    position = position.minimum(kept.sum(dim=-1, keepdim=True) - 1)
    sampled = tokens.gather(-1, position)[:, 0]
    is_greedy = torch.tensor([_is_greedy(each) for each in settings], device=logits.device)
    return [int(token) for token in torch.where(is_greedy, greedy, sampled)]


def _is_greedy(sampling: SamplingParams) -> bool:
    return sampling.temperature < _COLDEST


def _penalised(
    logits: torch.Tensor, settings: Sequence[SamplingParams], histories: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Divide positive and multiply negative logits of tokens that occurred already.

    Source: Keskar et al. 2019, CTRL, section 4.1, with the sign rule of transformers'
    RepetitionPenaltyLogitsProcessor; like there, the prompt counts.
    """
    if all(each.repetition_penalty == 1 for each in settings):
        return logits
    logits = logits.clone()
    for row, each, history in zip(logits, settings, histories, strict=True):
        if each.repetition_penalty == 1:
            continue
        inside = [token for token in set(history) if token < len(row)]
        seen = torch.tensor(inside, dtype=torch.long, device=logits.device)
        values = row[seen]
        penalty = each.repetition_penalty
        row[seen] = torch.where(values > 0, values / penalty, values * penalty)
    return logits
