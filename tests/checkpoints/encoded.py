"""Pictures of the stored cases, and what a checkpoint makes of them."""

from pathlib import Path
from typing import Any

import torch

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.vision import ImageFeatureCache
from llava_serve.request import Image, Video
from tests.checkpoints.golden_cases import ALL


def load_from(path: Path, **flags: Any) -> LoadedModel:
    return load(ModelConfig(model_path=str(path), device="cpu", **flags))


def picture(name: str, case: str = "C") -> Image:
    golden = next(each for each in ALL if each.case.startswith(case) and each.key == name)
    shown = golden.media[0]
    assert isinstance(shown, Image)
    return shown


def rows(loaded: LoadedModel, *media: Image | Video) -> list[torch.Tensor]:
    return [each.rows for each in ImageFeatureCache(loaded, cache_bytes=0).encode(media)]
