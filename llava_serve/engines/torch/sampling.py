"""Sampling of tokens from logits: one vectorised step for rows with parameters of their own."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from llava_serve.engines.torch.penalties import TokenHistory, penalise
from llava_serve.errors import EngineFailure
from llava_serve.request import SamplingParams

_COLDEST = 1e-5  # below it, logits divided by the temperature leave float32


@dataclass(frozen=True, slots=True)
class SamplerState:
    """One request's sampling parameters and its own random generator."""

    sampling: SamplingParams
    generator: torch.Generator

    @classmethod
    def of(cls, sampling: SamplingParams) -> "SamplerState":
        """Seed from the request, or from the system when it gives no seed."""
        generator = torch.Generator()  # on the CPU: the same numbers on every device
        if sampling.seed is None:
            generator.seed()
        else:
            generator.manual_seed(sampling.seed)
        return cls(sampling, generator)

    def skip(self) -> None:
        """Draw what `sample` draws for one token."""
        torch.rand((), generator=self.generator)


@dataclass(frozen=True, slots=True)
class SampledLogprobs:
    """Log probabilities at one place: of the sampled token, and of the most probable ones."""

    sampled: float
    top: tuple[tuple[int, float], ...]  # (token, its log probability), best first


@torch.inference_mode()
def logprobs_of(logits: torch.Tensor, token: int, top: int) -> SampledLogprobs:
    """Return log probabilities of `token` and of the `top` best; `logits` (vocabulary,)."""
    logprobs = logits.log_softmax(dim=-1)
    best = logprobs.topk(min(top, len(logprobs)))
    return SampledLogprobs(
        float(logprobs[token]), tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    )


@torch.inference_mode()
def mask_tokens(logits: torch.Tensor, masked: Sequence[Collection[int]]) -> torch.Tensor:
    """Make some tokens of each row impossible; `logits` (batch, vocabulary) stay as they are."""
    if not any(masked):
        return logits
    logits = logits.clone()
    for row, tokens in zip(logits, masked, strict=True):
        row[[token for token in tokens if token < len(row)]] = -torch.inf
    return logits


@torch.inference_mode()
def sample(
    logits: torch.Tensor, states: Sequence[SamplerState], histories: Sequence[TokenHistory]
) -> list[int]:
    """Sample the next token of each request.

    A request gets the same token alone and in any batch: its row depends on nothing else.

    Args:
        logits: float32 (batch, vocabulary).
        states: one for each row.
        histories: tokens of prompt and answer of each row, for penalties.
    """
    params = [state.sampling for state in states]
    logits = penalise(logits, params, histories)
    if not logits.amax(dim=-1).isfinite().all():
        raise EngineFailure("the model computed no number; its weights or precision are at fault")
    greedy = logits.argmax(dim=-1)
    if all(_is_greedy(each) for each in params):
        return list(greedy.tolist())

    def column(values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, device=logits.device)[:, None]

    temperature = column([1.0 if _is_greedy(each) else each.temperature for each in params])
    ordered, tokens = (logits / temperature).sort(dim=-1, descending=True, stable=True)
    vocabulary = logits.shape[-1]
    rank = torch.arange(vocabulary, device=logits.device)
    ordered = ordered.masked_fill(
        rank >= column([min(each.top_k or vocabulary, vocabulary) for each in params]), -torch.inf
    )
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    is_first = rank == 0  # rounding must never leave nothing to choose from
    kept = (before < column([each.top_p for each in params])) | is_first
    kept &= probabilities >= column([each.min_p for each in params]) * probabilities[:, :1]
    mass = probabilities.masked_fill(~kept, 0).cumsum(dim=-1)
    drawn = torch.stack([torch.rand((), generator=each.generator) for each in states])
    threshold = drawn.to(logits.device)[:, None] * mass[:, -1:]
    position = (mass <= threshold).sum(dim=-1, keepdim=True)
    position = position.minimum(kept.sum(dim=-1, keepdim=True) - 1)
    sampled = tokens.gather(-1, position)[:, 0]
    is_greedy = torch.tensor([_is_greedy(each) for each in params], device=logits.device)
    return list(torch.where(is_greedy, greedy, sampled).tolist())


def _is_greedy(sampling: SamplingParams) -> bool:
    return sampling.temperature < _COLDEST
