"""Checkpoints in LLaVA's own layout in 8 and 4 bits: what shrinks, what stays, what is answered."""

import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from llava_serve.checkpoints.adapters import apply_to_weights
from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.weights import open_folder
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.attention import AttentionSegment
from llava_serve.engines.torch.budget import EngineBudget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.engines.torch.model_runner import ModelRunner
from llava_serve.engines.torch.vision import ImageFeatureCache, merge_image_features
from llava_serve.request import GenerateRequest, SamplingParams
from tests.checkpoints.golden_cases import ALL, GOLDEN, Golden

pytestmark = pytest.mark.slow

# How far the logits may turn from the reference's, as the cosine between them.
FLAGS = {"load_8bit": 0.99, "load_4bit": 0.8}
BUDGET = EngineBudget(slots=2, kv_tokens=4000, feature_bytes=10**6, prefill_budget=64)
# The share of a matrix that the rounding of normally distributed numbers loses, and some more.
LOST = {"load_8bit": 0.02, "load_4bit": 0.12}
ONE_OF_EACH = {(golden.case, golden.checkpoint): golden for golden in reversed(ALL)}
# Of rows of half a block of 64 numbers, and of a whole one.
MATRICES = ("layers.0.mlp.up_proj", "layers.0.mlp.down_proj")
LORA = next(golden for golden in ALL if golden.checkpoint.endswith("-lora"))
CASES = [
    pytest.param(golden, id=f"{case[0]} {folder}") for (case, folder), golden in ONE_OF_EACH.items()
]


def quantised(golden: Golden, flag: str, **flags: Any) -> LoadedModel:
    return load(ModelConfig(**{**golden.flags, "dtype": "bfloat16", flag: True, **flags}))


def in_numbers(loaded: LoadedModel, name: str) -> torch.Tensor:
    """Return what a quantised matrix multiplies with: what it makes of the unit vectors."""
    layer: Any = loaded.model.get_submodule(f"model.language_model.{name}")
    with torch.no_grad():
        units: torch.Tensor = layer(torch.eye(layer.in_features, dtype=torch.bfloat16))
    return units.T.float()


def logits_of(loaded: LoadedModel, golden: Golden) -> torch.Tensor:
    media = [item for item in golden.items if not isinstance(item, int)]
    prompt = merge_image_features(
        loaded, golden.items, ImageFeatureCache(loaded, cache_bytes=0).encode(media)
    )
    length = len(prompt.tokens)
    runner = ModelRunner(loaded.model, kv_tokens=length)
    return runner.forward(prompt.embeddings, [AttentionSegment(0, length, 0, 0)])[0]


@pytest.mark.parametrize("golden", CASES)
@pytest.mark.parametrize("flag", FLAGS)
def test_only_the_language_model_s_matrices_shrink(flag: str, golden: Golden) -> None:
    parameters = dict(quantised(golden, flag).model.named_parameters())
    small = {name for name, each in parameters.items() if not each.dtype.is_floating_point}
    layers = {name.split(".")[3] for name in small}
    assert len(small) == 7 * len(layers) == 14
    assert all(name.startswith("model.language_model.layers.") for name in small)
    kept = {name: each.dtype for name, each in parameters.items() if name not in small}
    assert set(kept.values()) == {torch.bfloat16}, kept
    for part in ("vision_tower", "multi_modal_projector", "embed_tokens"):
        assert any(part in name for name in kept)


@pytest.mark.parametrize("golden", CASES)
@pytest.mark.parametrize("flag", FLAGS)
def test_the_logits_stay_near_the_reference_s(flag: str, golden: Golden) -> None:
    found = logits_of(quantised(golden, flag), golden).float()
    assert functional.cosine_similarity(found, golden.logits, dim=0) > FLAGS[flag]


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("flag", FLAGS)
def test_an_adapter_is_merged_before_the_weights_shrink(
    flag: str, name: str, tmp_path: Path
) -> None:
    shutil.copytree(next(GOLDEN.glob("E_*")), tmp_path / "E")
    adapter, base = tmp_path / "E" / LORA.checkpoint, tmp_path / "E" / "vicuna-base"
    weights = torch.load(adapter / "adapter_model.bin", weights_only=True)
    for each in weights:
        weights[each] *= 3  # far beyond what 4 bits lose
    torch.save(weights, adapter / "adapter_model.bin")
    loaded = quantised(LORA, flag, model_path=str(adapter), model_base=str(base))
    plain = open_folder(base)
    merged = apply_to_weights(plain, adapter)[f"model.{name}.weight"].read()
    found = in_numbers(loaded, name)
    assert (found - merged).norm() < LOST[flag] * merged.norm()
    assert (merged - plain[f"model.{name}.weight"].read()).norm() > 0.5 * merged.norm()
    assert not [each for each, _ in loaded.model.named_parameters() if "lora" in each]


@pytest.mark.parametrize("flag", FLAGS)
async def test_a_question_about_a_picture_is_answered(flag: str) -> None:
    engine = TorchEngine(quantised(LORA, flag), BUDGET)
    sampling = SamplingParams(temperature=0, max_new_tokens=8)
    request = GenerateRequest(request_id="req-1", prompt=LORA.conversation, sampling=sampling)
    try:
        async with aclosing(engine.stream(request)) as stream:
            deltas = [delta async for delta in stream]
    finally:
        engine.close()
    assert "".join(delta.text for delta in deltas)
    assert deltas[-1].finish_reason in ("stop", "length")
