"""What original weights are called in transformers' classes."""

import re
from functools import partial

import torch

from llava_serve.checkpoints.weights import Weight, Weights
from llava_serve.errors import CheckpointError

TOWER = "model.vision_tower."
_PROJECTOR = "model.mm_projector."
_NEWLINE = "model.image_newline"
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

    A newline is left out where the model has none: published files keep an unused one.

    A linear projector becomes two layers, the second of which changes nothing: transformers'
    classes always have two.

    Raises:
        CheckpointError: there is no projector, or it is of a kind transformers has no class for.
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
    """Say whether a `mm_projector_type` is one matrix."""
    return projector in ("linear", "mlp1x_gelu")


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
    if is_linear(kind):
        first = {name.rsplit(".", 1)[-1]: weight for name, weight in held.items()}
        if not {"weight", "bias"} <= set(first):
            raise CheckpointError(_no_projector(kind, held))
        width = first["bias"].shape[0]
        second = {
            "weight": Weight((width, width), 4, partial(torch.eye, width)),
            "bias": Weight((width,), 4, partial(torch.zeros, width)),
        }
    elif kind == "mlp2x_gelu":
        first, second = (
            {
                part: held[f"{layer}.{part}"]
                for part in ("weight", "bias")
                if f"{layer}.{part}" in held
            }
            for layer in (0, 2)
        )
        if not held or len(held) > len(first) + len(second):
            raise CheckpointError(_no_projector(kind, held))
    else:
        raise CheckpointError(
            f"the projector is of type {kind!r}, for which transformers has no class; "
            "linear and mlp2x_gelu load."
        )
    layers = {"linear_1": first, "linear_2": second}
    return {
        f"model.multi_modal_projector.{layer}.{part}": weight
        for layer, parts in layers.items()
        for part, weight in parts.items()
    }


def _no_projector(kind: str, held: Weights) -> str:
    found = ", ".join(sorted(held)) or "none"
    return (
        f"the weights hold no projector of type {kind} (found of {_PROJECTOR}*: {found}). This is "
        "a language model, or its projector is in another folder: give the one with "
        "mm_projector.bin or non_lora_trainables.bin."
    )
