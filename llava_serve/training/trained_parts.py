"""Trained parts: which weights of a model learn, and the matrices that a LoRA adds."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedModel

from llava_serve.errors import CommandError
from llava_serve.training.flags import TrainingFlags
from llava_serve.training.served_folder import set_cache
from llava_serve.training.starting_point import StartingPoint

PROJECTOR_PARTS = ("multi_modal_projector", "image_newline")
TOWER_PART = "vision_tower"


def choose(start: StartingPoint, flags: TrainingFlags) -> PreTrainedModel:
    """Say of each weight whether it learns; return the model, which a LoRA is put around.

    finetune trains all but the vision tower, pretrain the projector, and lora the projector beside
    matrices for each linear layer of the language model. A newline goes with the projector. What
    learns is float32.

    Raises:
        CommandError: nothing would learn.
    """
    model: Any = start.loaded.model
    model.requires_grad_(False)
    set_cache(model, used=False)
    if flags.mode == "finetune" and not flags.model.freeze_backbone:
        model.model.language_model.requires_grad_(True)
        model.get_output_embeddings().requires_grad_(True)
    if flags.model.unfreeze_mm_vision_tower:
        model.model.vision_tower.requires_grad_(True)
    if flags.mode == "lora":
        model = _with_lora(model, flags, saves_projector=start.loaded.original is None)
    for parameter in _of_projector(start):
        parameter.requires_grad_(not flags.model.freeze_mm_mlp_adapter)
    learning = [each for each in model.parameters() if each.requires_grad]
    if not learning:
        raise CommandError(
            "nothing would learn: every part of the model is left as it is",
            "Leave out --freeze_backbone or --freeze_mm_mlp_adapter.",
        )
    for parameter in learning:
        parameter.data = parameter.data.float()
    trained: PreTrainedModel = model
    return trained


def _of_projector(start: StartingPoint) -> Iterator[torch.nn.Parameter]:
    inner: Any = start.loaded.model.model
    projector = inner.multi_modal_projector
    # peft keeps the weights it began with beside those that learn.
    learning = projector.modules_to_save if hasattr(projector, "modules_to_save") else projector
    yield from learning.parameters()
    if (newline := getattr(inner, "image_newline", None)) is not None:
        yield newline


def _with_lora(model: Any, flags: TrainingFlags, *, saves_projector: bool) -> Any:
    """Put a LoRA around the linear layers of the language model.

    Beside Hugging Face's layout peft itself saves the projector.
    """
    from peft import LoraConfig, get_peft_model

    layers = [
        name
        for name, module in model.model.language_model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    names = "|".join(sorted({name.rpartition(".")[2] for name in layers}))
    config = LoraConfig(
        r=flags.model.lora_r,
        lora_alpha=flags.model.lora_alpha,
        lora_dropout=flags.model.lora_dropout,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=rf"model\.language_model\..*\.({names})",
        modules_to_save=["multi_modal_projector"] if saves_projector else None,
    )
    with warnings.catch_warnings():
        # peft 0.21 still asks transformers by a name that goes away with version 6.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(model, config)
