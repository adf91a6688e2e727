"""A checkpoint that does not load says what is wrong with it and what to do, by name."""

import json
import logging
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from llava_serve.checkpoints import prompts
from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError
from tests.checkpoints.changed import change_weights, set_json
from tests.checkpoints.golden_cases import GOLDEN

LORA, PROJECTOR, BASE = "llava-v1.5-tiny-lora", "llava-v1.5-tiny-pretrain", "vicuna-base"
Break = Callable[[Path], object]


def settings(**values: Any) -> Break:
    return lambda folder: set_json(folder / "config.json", **values)


def without(*names: str) -> Break:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def tensors(file: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Break:
    return lambda folder: change_weights(folder / file, change)


def lfs_pointer(file: str) -> Break:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    return lambda folder: (folder / file).write_text(text, encoding="utf-8")


def pickled_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Path("harmless")}, folder / "pytorch_model.bin")


def empty_beside_another(folder: Path) -> None:
    prompts.tokenizer_of(folder, config=LlamaConfig()).save_pretrained(folder)
    (folder / "tokenizer.model").write_bytes(b"")


def far_too_large(folder: Path) -> None:
    """Weights of a terabyte, which take no place on the disk and are never read."""
    rows, width = 10_000_000, 50_000
    weights = {
        "model.embed_tokens.weight": (rows // 1000, width),
        "model.layers.0.mlp.up_proj.weight": (rows, width),
    }
    header, end = {}, 0
    for name, shape in weights.items():
        start, end = end, end + 2 * shape[0] * shape[1]
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


@dataclass(frozen=True)
class Case:
    """`change` is applied to a copy of `folder` of the stored case that `case` begins with."""

    message: str
    case: str = "C"
    folder: str = "checkpoint"
    change: Break = lambda folder: None
    base: str | None = None
    change_base: Break = lambda folder: None
    flags: dict[str, Any] = field(default_factory=dict)


E_LORA: Any = {"case": "E", "folder": LORA, "base": BASE}
E_PROJECTOR: Any = {"case": "E", "folder": PROJECTOR, "base": BASE}
C_WEIGHTS = "model.safetensors"
CASES: dict[str, Case] = {
    "an adapter without its base": Case(
        r"is an adapter \(LoRA\), trained on vicuna-base: give --model-base \S+/case/vicuna-base",
        case="E",
        folder=LORA,
    ),
    "a projector without its base": Case(
        r"only a projector \(mm_projector\.bin\), trained on lmsys/vicuna-tiny: give --model-base",
        case="E",
        folder=PROJECTOR,
    ),
    "a base for a whole model": Case(
        "whole model and needs no base: leave out --model-base", base="checkpoint"
    ),
    "a base that is no model": Case(
        r"--model-base .* is no model: it has no config\.json\. Give the folder of vicuna-base",
        **E_LORA,
        change_base=without("config.json"),
    ),
    "a base of another shape": Case(
        r"does not fit --model-base: model\.layers\.0\.\S+_proj\.weight is \(.*\) in the base and "
        r"\(.*\) in the adapter\. Give the base it was trained on",
        **E_LORA,
        change_base=tensors(
            "pytorch_model.bin",
            lambda held: held.update(
                {name: torch.ones(3, 3) for name in held if name.endswith("_proj.weight")}
            ),
        ),
    ),
    "a projector for a base of another width": Case(
        r"llava-v1\.5-tiny-pretrain does not fit --model-base .*vicuna-base: 1 have another shape: "
        r".*linear_1\.weight is \(8, 32\), config\.json asks for \(32, 32\)\. Give the base",
        **E_PROJECTOR,
        change=tensors(
            "mm_projector.bin",
            lambda held: held.update({"model.mm_projector.0.weight": torch.ones(8, 32)}),
        ),
    ),
    "an adapter for layers the base has not": Case(
        r"model\.layers\.9\.mlp\.up_proj\.weight is not in the base",
        **E_LORA,
        change=tensors(
            "adapter_model.bin",
            lambda held: held.update(
                {
                    f"base_model.model.model.layers.9.mlp.up_proj.lora_{part}.weight": torch.ones(
                        4, 4
                    )
                    for part in "AB"
                }
            ),
        ),
    ),
    "an adapter with more than a LoRA": Case(
        r"holds 1 weights that are no part of a LoRA: up_proj\.lora_magnitude_vector\. Merge it",
        **E_LORA,
        change=tensors(
            "adapter_model.bin",
            lambda held: held.update({"up_proj.lora_magnitude_vector": torch.ones(1)}),
        ),
    ),
    "a projector of more layers than it says": Case(
        r"no projector of type mlp2x_gelu \(found of .*: 0\.bias, .*4\.weight",
        **E_PROJECTOR,
        change=tensors(
            "mm_projector.bin",
            lambda held: held.update({"model.mm_projector.4.weight": torch.ones(32, 32)}),
        ),
    ),
    "a tokenizer of another model": Case(
        r"has \d+ tokens and the model 8 embeddings: these files are of two models",
        change=tensors(
            C_WEIGHTS,
            lambda held: held.update(
                {"model.embed_tokens.weight": held["model.embed_tokens.weight"][:8].clone()}
            ),
        ),
    ),
    "an adapter without LLaVA's settings": Case(
        r"neither .* has a config\.json with LLaVA's settings \(mm_vision_tower",
        **E_LORA,
        change=without("config.json"),
    ),
    "no config": Case(r"no checkpoint: it has no config\.json", change=without("config.json")),
    "a git-LFS pointer": Case(
        r"git-LFS pointer.*git lfs pull", change=lfs_pointer("model.safetensors")
    ),
    "a git-LFS pointer in the base": Case(
        r"vicuna-base/pytorch_model\.bin is a git-LFS pointer.*git lfs pull` in .*vicuna-base",
        **E_LORA,
        change_base=lfs_pointer("pytorch_model.bin"),
    ),
    "a git-LFS pointer in the vision tower": Case(
        r"clip-vit-tiny-patch14-112/config\.json is a git-LFS pointer.*git lfs pull",
        case="A",
        change=lfs_pointer("../openai/clip-vit-tiny-patch14-112/config.json"),
    ),
    "half a download": Case(
        r"model\.safetensors cannot be read as weights: it has 50000 of \d+ bytes. Repeat",
        change=lambda folder: os.truncate(folder / C_WEIGHTS, 50_000),
    ),
    "no weights": Case("has no weights", change=without(C_WEIGHTS)),
    "a missing shard": Case(
        r"lacks 1 of the 2 weight files .* model-00002-of-00002\.safetensors",
        case="B",
        change=without("model-00002-of-00002.safetensors"),
    ),
    "code among pickled weights": Case(
        r"pytorch_model\.bin needs more than tensors .* Convert it to safetensors",
        change=pickled_code,
    ),
    "a missing weight": Case(
        r"1 are missing: model\.language_model\.norm\.weight",
        change=tensors(C_WEIGHTS, lambda held: held.pop("model.norm.weight")),
    ),
    "a weight too many": Case(
        r"belong to no part of the model: model\.language_model\.extra\.weight",
        change=tensors(C_WEIGHTS, lambda held: held.update({"model.extra.weight": torch.ones(1)})),
    ),
    "a language model without projector": Case(
        "hold no projector of type mlp2x_gelu",
        change=tensors(
            C_WEIGHTS,
            lambda held: [held.pop(name) for name in list(held) if "mm_projector" in name],
        ),
    ),
    "no tokenizer": Case(
        r"checkpoint has no tokenizer: none of tokenizer\.json, tokenizer\.model, .* Repeat",
        case="B",
        change=without("tokenizer.model", "tokenizer_config.json"),
    ),
    "a tokenizer.model that was cut off": Case(
        r"checkpoint/tokenizer\.model cannot be read by sentencepiece: .*\. Download it again",
        case="A",
        change=lambda folder: os.truncate(folder / "tokenizer.model", 4000),
    ),
    "an empty tokenizer.model beside a tokenizer.json": Case(
        r"tokenizer\.model cannot be read by sentencepiece: .* with a tokenizer\.json .* delete it",
        case="A",
        change=empty_beside_another,
    ),
    "a vision tower that is not here": Case(
        r"needs the vision tower /training/towers/mine, which is not here: put its folder beside",
        change=settings(mm_vision_tower="/training/towers/mine"),
    ),
    "a vision tower of several scales": Case(r"several scales \(s2\)", change=settings(s2=True)),
    "an unknown language model": Case(
        "LlavaGemmaForCausalLM / llava_gemma does not load; .* Llama, Mistral or Qwen2",
        change=settings(architectures=["LlavaGemmaForCausalLM"], model_type="llava_gemma"),
    ),
    "an unknown projector": Case(
        r"config\.json says mm_projector_type 'mlp3x_gelu', for which .* mlp2x_gelu load\. Serve",
        change=settings(mm_projector_type="mlp3x_gelu"),
    ),
    "a resampler": Case(
        "mm_resampler_type 'q': a resampler does not load", change=settings(mm_resampler_type="q")
    ),
    "an unknown way to fit pictures": Case(
        "image_aspect_ratio is 'crop'; square, pad", change=settings(image_aspect_ratio="crop")
    ),
    "an unknown way to merge tiles": Case(
        "mm_patch_merge_type 'unires'; known: flat", change=settings(mm_patch_merge_type="unires")
    ),
    "a class token among tiles": Case(
        "cls_patch, and a class token has no place among the tiles of anyres; patch goes with it",
        case="B",
        change=settings(mm_vision_select_feature="cls_patch"),
    ),
    "an unknown choice of features": Case(
        "mm_vision_select_feature 'cls'; known: patch, cls_patch",
        case="B",
        change=settings(mm_vision_select_feature="cls"),
    ),
    "tiles without canvases": Case(
        "no image_grid_pinpoints", change=settings(image_grid_pinpoints=None)
    ),
    "more than the memory holds": Case(
        r"needs 1,00\d\.\d GB in 16 bits and cpu has .* GB free: .* for the language model, "
        r".* for the vision tower and projector, .* for a KV cache of one context .* all 4 slots\)"
        r"\. Not even 4 bits fit",
        change=far_too_large,
        flags={"dtype": "float16"},
    ),
    "what is not quantised, in the precision it keeps": Case(
        r"needs 258\.\d GB in 4 bits and .* 8\.4 MB for a KV cache of one context of 32768 tokens",
        change=far_too_large,
        flags={"load_4bit": True, "dtype": "float32"},
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_what_is_wrong_is_named_and_transformers_says_nothing_else(
    what: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reporting = logging.getLogger("transformers.modeling_utils")
    monkeypatch.setattr(reporting, "handlers", [caplog.handler])
    case = CASES[what]
    stored = next(GOLDEN.glob(f"{case.case}_*"))
    place = tmp_path / "case"
    shutil.copytree(stored, place)
    case.change(place / case.folder)
    base = None if case.base is None else place / case.base
    if base is not None:
        case.change_base(base)
    config = ModelConfig(
        model_path=str(place / case.folder),
        model_base=None if base is None else str(base),
        device="cpu",
        **case.flags,
    )
    with pytest.raises(CheckpointError, match=case.message):
        load(config, slots=4)
    assert "LOAD REPORT" not in caplog.text
