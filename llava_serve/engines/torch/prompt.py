"""Tokens and feature rows become the embeddings of a prompt: one position for each row."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.features import Encoding
from llava_serve.engines.torch.spans import Keys
from llava_serve.engines.torch.tokens import Item


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt ready for prefill.

    `tokens` has the image token's id wherever a feature row stands; `embeddings` is
    (len(tokens), hidden); `keys` tell equal prompts, pictures included, from different ones.
    """

    tokens: list[int]
    embeddings: torch.Tensor
    keys: Keys
    image_tokens: int


@torch.inference_mode()
def splice(loaded: LoadedModel, items: Sequence[Item], encodings: Sequence[Encoding]) -> Prompt:
    """Put each picture's rows where the picture stands among `items`."""
    embed = loaded.model.get_input_embeddings()
    remaining = iter(encodings)
    tokens: list[int] = []
    keys: list[int] = []
    places: list[tuple[int, torch.Tensor]] = []
    for item in items:
        if isinstance(item, int):
            tokens.append(item)
            keys.append(item)
            continue
        picture = next(remaining)
        places.append((len(tokens), picture.rows))
        tokens += [loaded.image_token_id] * len(picture.rows)
        keys += [_key(picture.name)] * len(picture.rows)
    ids = torch.tensor(tokens, device=loaded.model.device)
    # The placeholder's id may lie beyond the embedding table; its rows are overwritten anyway.
    embeddings = embed(ids.masked_fill(ids == loaded.image_token_id, 0))
    for start, rows in places:
        embeddings[start : start + len(rows)] = rows.to(embeddings)
    return Prompt(
        tokens,
        embeddings,
        np.array(keys, dtype=np.int64),
        image_tokens=sum(len(rows) for _, rows in places),
    )


def _key(name: str) -> int:
    """Return a negative number for what a picture is called: no token has one."""
    digest = hashlib.sha256(name.encode()).digest()
    return -1 - (int.from_bytes(digest[:8], "big") >> 1)
