"""Tiny models with random weights, one of each family, loaded once."""

from collections.abc import Callable
from functools import cache

import numpy as np
import PIL.Image
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import EngineBudget
from llava_serve.request import Image
from scripts import random_checkpoint


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedModel]:
    @cache
    def of_family(family: str) -> LoadedModel:
        folder = tmp_path_factory.mktemp("checkpoints") / family
        random_checkpoint.write(family, folder)  # type: ignore[arg-type]
        return load(ModelConfig(model_path=str(folder), device="cpu"))

    return of_family


@pytest.fixture(scope="session")
def picture() -> Callable[[int, int], Image]:
    """Return a picture of noise: (width, height)."""

    def of_size(width: int, height: int) -> Image:
        noise = np.random.default_rng(width * 1000 + height)
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image(PIL.Image.fromarray(pixels), f"{width}x{height}")

    return of_size


@pytest.fixture(scope="session")
def pieces() -> PreTrainedTokenizerBase:
    """Return a tokenizer of Llama's kind: `▁` for spaces, bytes for unknown characters, BOS."""
    letters = [chr(code) for code in range(33, 127)]
    words = ["▁", "▁h", "▁he", "▁w", "ll", "llo", "lo", "▁hello", "▁wo"]
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = ["<unk>", "<s>", "</s>", *byte_pieces, *letters, *words]
    merges = [("▁", "h"), ("▁h", "e"), ("l", "l"), ("ll", "o"), ("▁he", "llo"), ("▁", "w")]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(vocabulary)},
            merges=merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<image>"])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


@pytest.fixture(scope="session")
def tokenizers(pieces: PreTrainedTokenizerBase) -> dict[str, PreTrainedTokenizerBase]:
    return {"bytes": random_checkpoint.byte_tokenizer(), "pieces": pieces}


@pytest.fixture(scope="session")
def budget() -> EngineBudget:
    """Two slots, and a cache that two short requests fill."""
    return EngineBudget(
        slots=2, kv_tokens=1024, feature_bytes=10**6, prefill_budget=16, idle_prefill_budget=64
    )
