"""Penalties and biases of tokens, by what a request's prompt and answer have so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llava_serve.errors import InvalidField
from llava_serve.request import SamplingParams


@dataclass(frozen=True, slots=True)
class TokenHistory:
    """Tokens of one request: its prompt's, and from `prompt_tokens` on its answer's."""

    tokens: Sequence[int]
    prompt_tokens: int = 0


def check_biases(params: SamplingParams, vocabulary: int) -> None:
    """Check that biased tokens exist. Raises: InvalidField."""
    if (token := max(dict(params.logit_bias), default=0)) >= vocabulary:
        raise InvalidField("logit_bias", f"names token {token}; the last one is {vocabulary - 1}")


@torch.inference_mode()
def penalise(
    logits: torch.Tensor, params: Sequence[SamplingParams], histories: Sequence[TokenHistory]
) -> torch.Tensor:
    """Return logits (batch, vocabulary) with the penalties and biases of each row.

    What was given is left as it is. Biases come first, so that penalties act on what was asked for.
    """
    if not any(map(_asks, params)):
        return logits
    logits = logits.clone()
    for row, each, history in zip(logits, params, histories, strict=True):
        if each.logit_bias:
            _add(row, dict(each.logit_bias))
        if each.repetition_penalty != 1:
            _divide_repeated(row, each.repetition_penalty, history.tokens)
        if each.frequency_penalty or each.presence_penalty:
            _subtract_counted(row, each, history.tokens[history.prompt_tokens :])
    return logits


def _asks(params: SamplingParams) -> bool:
    return bool(
        params.logit_bias
        or params.repetition_penalty != 1
        or params.frequency_penalty
        or params.presence_penalty
    )


def _add(row: torch.Tensor, biases: dict[int, float]) -> None:
    tokens = torch.tensor(list(biases), dtype=torch.long, device=row.device)
    row[tokens] += torch.tensor(list(biases.values()), dtype=row.dtype, device=row.device)


def _divide_repeated(row: torch.Tensor, penalty: float, tokens: Sequence[int]) -> None:
    """Divide positive and multiply negative logits of tokens that occurred already.

    Source: Keskar et al. 2019, CTRL, section 4.1, with the sign rule of transformers'
    RepetitionPenaltyLogitsProcessor; like there, the prompt counts.
    """
    inside = [token for token in set(tokens) if token < len(row)]
    seen = torch.tensor(inside, dtype=torch.long, device=row.device)
    values = row[seen]
    row[seen] = torch.where(values > 0, values / penalty, values * penalty)


def _subtract_counted(row: torch.Tensor, params: SamplingParams, answer: Sequence[int]) -> None:
    """Subtract the presence penalty from tokens of the answer, the frequency one each time.

    Source: OpenAI's API reference, "Frequency and presence penalties"; like in vLLM and SGLang,
    the prompt does not count.
    """
    if not answer:
        return
    tokens = torch.tensor(answer, dtype=torch.long, device=row.device)
    seen, counts = torch.unique(tokens, return_counts=True)
    row[seen] -= params.presence_penalty + params.frequency_penalty * counts.to(row.dtype)
