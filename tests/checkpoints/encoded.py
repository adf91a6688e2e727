"""Pictures and prompts of the stored cases, and what a checkpoint makes of them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import torch

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.vision import (
    EmbeddedPrompt,
    ImageFeatureCache,
    Item,
    merge_image_features,
)
from llava_serve.request import Delta, Image, Video
from tests.checkpoints.golden_cases import ALL


def load_from(path: Path | str, conv_mode: str | None = None, **flags: Any) -> LoadedModel:
    return load(ModelConfig(model_path=str(path), device="cpu", **flags), conv_mode)


def picture(name: str, case: str = "C") -> Image:
    golden = next(each for each in ALL if each.case.startswith(case) and each.key == name)
    shown = golden.media[0]
    assert isinstance(shown, Image)
    return shown


def rows(loaded: LoadedModel, *media: Image | Video) -> list[torch.Tensor]:
    return [each.rows for each in ImageFeatureCache(loaded, cache_bytes=0).encode(media)]


def merged(loaded: LoadedModel, items: Sequence[Item]) -> EmbeddedPrompt:
    media = [item for item in items if not isinstance(item, int)]
    features = ImageFeatureCache(loaded, cache_bytes=0).encode(media)
    return merge_image_features(loaded, items, features)


def ids_of(items: Sequence[Item]) -> list[int]:
    """Return token ids as the reference has them, whose pictures are all -200."""
    return [item if isinstance(item, int) else -200 for item in items]


async def text_of(stream: AsyncGenerator[Delta]) -> str:
    async with aclosing(stream) as deltas:
        return "".join([delta.text async for delta in deltas])
