"""Weights of a checkpoint in LLaVA's layout, and what they are called in transformers' classes."""

import logging
import re
from functools import partial

import torch

from llava_serve.checkpoints.adapters import apply_to_weights
from llava_serve.checkpoints.original.tower import VisionTower
from llava_serve.checkpoints.resolve import PROJECTOR, OriginalCheckpoint
from llava_serve.checkpoints.weights import Weight, Weights, open_file, open_folder
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

_TOWER = "model.vision_tower."
_PROJECTOR = "model.mm_projector."
_NEWLINE = "model.image_newline"
_EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")
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
    ("model.vision_tower.vision_tower.vision_model.", _TOWER),
    ("model.vision_tower.vision_model.", _TOWER),
    ("model.vision_tower.vision_tower.", _TOWER),
    (_NEWLINE, _NEWLINE),
    ("model.", "model.language_model."),
    ("lm_head.", "lm_head."),
)


def weights_of(checkpoint: OriginalCheckpoint, tower: VisionTower) -> Weights:
    """Open the weights of all parts, under LLaVA's names; `tower` has its own where none are there.

    Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py::load_pretrained_model.

    Raises:
        CheckpointError: a file is missing or broken, or an adapter does not fit its base.
    """
    weights = language_weights(checkpoint)
    if any(name.startswith(_TOWER) for name in weights):
        logger.info("the vision tower's weights are in the checkpoint")
        return weights
    return weights | tower.weights()


def language_weights(checkpoint: OriginalCheckpoint) -> Weights:
    """Open the weights of all parts but a vision tower that lies elsewhere."""
    weights = open_folder(checkpoint.model_folder)
    if checkpoint.part == "lora":
        return apply_to_weights(weights, checkpoint.folder)
    if checkpoint.part == "projector":
        return weights | _named_as_whole(open_file(checkpoint.folder / PROJECTOR))
    return weights


def _named_as_whole(weights: Weights) -> Weights:
    """Undo the prefixes that training wrappers leave before the names of a saved projector."""
    return {
        "model." + name[name.find("mm_projector") :] if "mm_projector" in name else name: weight
        for name, weight in weights.items()
    }


def rows_of(weights: Weights) -> int:
    """Return how many embeddings there are.

    Raises:
        CheckpointError: there are none.
    """
    table = weights.get(_EMBEDDINGS[0])
    if table is None:
        raise CheckpointError(
            f"the weights lack {_EMBEDDINGS[0]}: these files hold no language model."
        )
    return table.shape[0]


def resized(weights: Weights, tokens: int) -> Weights:
    """Give each token its row of the embeddings, and no row to anything else.

    Rows that are missing, of tokens added to the vocabulary that nobody trained, are zeros.

    Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py, resize_token_embeddings.
    """
    held = {name: weights[name] for name in _EMBEDDINGS if name in weights}
    return weights | {name: _rows(weight, tokens) for name, weight in held.items()}


def _rows(weight: Weight, count: int) -> Weight:
    def read() -> torch.Tensor:
        kept = weight.read()[:count]
        missing = count - len(kept)
        return torch.cat([kept, kept.new_zeros(missing, *kept.shape[1:])]) if missing else kept

    return Weight((count, *weight.shape[1:]), weight.itemsize, read)


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
    unused = re.compile(re.escape(_TOWER) + r"encoder\.layers\.(\d+)\.")
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
