"""Composition: a language model, a vision tower and a projector become a LLaVA."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llava_serve.checkpoints.original.tower import tower_of
from llava_serve.checkpoints.resolve import PROJECTOR, OriginalCheckpoint
from llava_serve.checkpoints.settings import OriginalConfig, parse
from llava_serve.errors import CommandError
from llava_serve.training.flags import TrainingFlags
from llava_serve.training.projector_file import new_projector

# Language models that become a LLaVA with a tower, and what LLaVA calls that.
LANGUAGE_MODELS = {
    "llama": ("LlavaLlamaForCausalLM", "llava_llama"),
    "mistral": ("LlavaMistralForCausalLM", "llava_mistral"),
    "qwen2": ("LlavaQwenForCausalLM", "llava_qwen"),
}
MATCHED: dict[str, Any] = {  # what LLaVA takes where config.json says nothing
    "mm_projector_type": "linear",
    "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "patch",
    "mm_patch_merge_type": "flat",
    "mm_use_im_start_end": False,
}


@contextmanager
def composed(
    flags: TrainingFlags, folder: Path, config: dict[str, Any]
) -> Iterator[OriginalCheckpoint]:
    """Put a language model, a tower and a projector together, as LLaVA's layout has them.

    The checkpoint can be loaded within the context: a new projector lies in a folder of its own.

    Raises:
        CheckpointError: a part cannot be found.
        CommandError: --vision_tower is missing, or the projector is none.
    """
    model = flags.model
    if model.vision_tower is None:
        raise CommandError(
            f"{folder} is a language model without a vision tower",
            "Name one with --vision_tower, such as openai/clip-vit-large-patch14-336.",
        )
    architecture, model_type = LANGUAGE_MODELS[config["model_type"]]
    given = {name: getattr(model, name) for name in MATCHED}
    settings = config | {
        **{name: usual if given[name] is None else given[name] for name, usual in MATCHED.items()},
        "architectures": [architecture],
        "model_type": model_type,
        "mm_vision_tower": model.vision_tower,
        "mm_use_im_patch_token": False,
        "image_aspect_ratio": flags.data.image_aspect_ratio or "square",
        "use_mm_proj": True,
    }
    with tempfile.TemporaryDirectory(prefix="llava_serve_") as made:
        file = Path(model.pretrain_mm_mlp_adapter or Path(made) / PROJECTOR)
        path = folder / "config.json"
        checkpoint = OriginalCheckpoint(
            file.parent, "projector", folder, parse(OriginalConfig, path, settings), path
        )
        settings["mm_hidden_size"] = width = int(tower_of(checkpoint).config.hidden_size or 0)
        if model.pretrain_mm_mlp_adapter is None:
            widths = (width, int(config["hidden_size"]))
            has_newline = "unpad" in settings["mm_patch_merge_type"]
            kind = settings["mm_projector_type"]
            new = new_projector(kind, widths, has_newline=has_newline, seed=flags.run.seed)
            torch.save(new, file)
        elif file.name != PROJECTOR or not file.is_file():
            raise CommandError(
                f"--pretrain_mm_mlp_adapter {file} is no file called {PROJECTOR}",
                f"Give the {PROJECTOR} that a pretraining wrote.",
            )
        yield replace(checkpoint, config=parse(OriginalConfig, path, settings))
