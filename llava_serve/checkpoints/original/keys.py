"""What original weights are called in transformers' classes."""

import re
from functools import partial

import torch

from llava_serve.checkpoints.weights import Weight, Weights
from llava_serve.errors import CheckpointError

TOWER = "model.vision_tower."
_PROJECTOR = "model.mm_projector."
_NEWLINE = "model.image_newline"
_PARTS = ("weight", "bias")
# What the layers of each `mm_projector_type` are called. Source: haotian-liu/LLaVA@c121f04,
# llava/model/multimodal_projector/builder.py::build_vision_projector.
PROJECTORS = {
    "linear": ("",),
    "identity": (),
    "mlp1x_gelu": ("0.",),
    "mlp2x_gelu": ("0.", "2."),
}
# Computed anew by transformers, or for parts that LLaVA never reads; none can change an answer.
_LEFT_OUT = re.compile(
    r"rotary_emb\.inv_freq$|\.position_ids$|vision_model\.head\.|^model\.vision_resampler\."
)
_RENAMED = (
    ("model.vision_tower.vision_tower.vision_model.", TOWER),
    ("model.vision_tower.vision_model.", TOWER),
    ("model.vision_tower.vision_tower.", TOWER),
    (_NEWLINE, _NEWLINE),
    ("model.", "model.language_model."),
    ("lm_head.", "lm_head."),
)


def translate(weights: Weights, projector: str, tower_layers: int, *, has_newline: bool) -> Weights:
    """Rename every weight; `tower_layers` is how many layers of the tower are used.

    `projector` is one of `PROJECTORS`.

    A newline is left out where the model has none: published files keep an unused one.

    A projector of fewer layers than two gets some that change nothing: transformers' classes
    always have two.

    Raises:
        CheckpointError: there is no projector of this kind.
    """
    renamed = {
        _renamed(name): weight
        for name, weight in weights.items()
        if not (_LEFT_OUT.search(name) or name.startswith(_PROJECTOR))
        and (has_newline or name != _NEWLINE)
    }
    unused = re.compile(re.escape(TOWER) + r"encoder\.layers\.(\d+)\.")
    kept = {
        name: weight
        for name, weight in renamed.items()
        if not ((found := unused.match(name)) and int(found[1]) >= tower_layers)
    }
    return kept | _projector(weights, projector)


def is_linear(projector: str) -> bool:
    """Say whether one of `PROJECTORS` has no activation: it is one matrix, or none."""
    return len(PROJECTORS[projector]) < 2


def _renamed(name: str) -> str:
    for old, new in _RENAMED:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name  # reported by the loader as belonging to no part of the model


def _projector(weights: Weights, kind: str) -> Weights:
    held = {
        name.removeprefix(_PROJECTOR): weight
        for name, weight in weights.items()
        if name.startswith(_PROJECTOR)
    }
    if set(held) != {layer + part for layer in PROJECTORS[kind] for part in _PARTS}:
        raise CheckpointError(_no_projector(kind, held))
    layers = [{part: held[layer + part] for part in _PARTS} for layer in PROJECTORS[kind]]
    width = weights["model.embed_tokens.weight"].shape[1]
    unchanged = {
        "weight": Weight((width, width), 4, partial(torch.eye, width)),
        "bias": Weight((width,), 4, partial(torch.zeros, width)),
    }
    return {
        f"model.multi_modal_projector.linear_{i + 1}.{part}": weight
        for i, parts in enumerate([*layers, unchanged, unchanged][:2])
        for part, weight in parts.items()
    }


def _no_projector(kind: str, held: Weights) -> str:
    if held:
        remedy = "Where that is all there should be, correct mm_projector_type in config.json."
    else:
        remedy = (
            "This is a language model, or its projector is in another folder: give the one with "
            "mm_projector.bin or non_lora_trainables.bin."
        )
    found = ", ".join(sorted(held)) or "none"
    return (
        f"the weights hold no projector of type {kind} (found of {_PROJECTOR}*: {found}). {remedy}"
    )
