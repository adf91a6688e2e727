"""Tokens and feature rows become the embeddings of a prompt: one position for each row."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.features import Rows
from llava_serve.engines.torch.tokens import Item


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt ready for prefill.

    `tokens` has the image token's id wherever a feature row stands; `embeddings` is
    (len(tokens), hidden).
    """

    tokens: list[int]
    embeddings: torch.Tensor
    image_tokens: int


@torch.inference_mode()
def splice(loaded: LoadedModel, items: Sequence[Item], rows: Sequence[Rows]) -> Prompt:
    """Put each picture's rows where the picture stands among `items`."""
    embed = loaded.model.get_input_embeddings()
    remaining = iter(rows)
    tokens: list[int] = []
    places: list[tuple[int, Rows]] = []
    for item in items:
        if isinstance(item, int):
            tokens.append(item)
            continue
        features = next(remaining)
        places.append((len(tokens), features))
        tokens += [loaded.image_token_id] * len(features)
    ids = torch.tensor(tokens, device=loaded.model.device)
    # The placeholder's id may lie beyond the embedding table; its rows are overwritten anyway.
    embeddings = embed(ids.masked_fill(ids == loaded.image_token_id, 0))
    for start, features in places:
        embeddings[start : start + len(features)] = features.to(embeddings)
    return Prompt(tokens, embeddings, image_tokens=sum(len(features) for _, features in places))
