"""Flags of a training: LLaVA's own, beside those of transformers' Trainer."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from transformers import TrainingArguments

Mode = Literal["pretrain", "finetune", "lora"]
_OF_THE_WEIGHTS = (
    "per_device_train_batch_size",
    *("gradient_accumulation_steps", "learning_rate", "mm_projector_lr", "mm_vision_tower_lr"),
    *("weight_decay", "lr_scheduler_type", "warmup_steps", "max_grad_norm", "seed"),
    *("model_max_length", "group_by_modality_length", "group_by_length", "bf16", "fp16"),
)


def _flag(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which model is trained, and which of its parts."""

    model_name_or_path: str = _flag(
        "", "folder or hub name of a LLaVA model, or of the language model of one to be made"
    )
    version: str | None = _flag(None, "conversation template; without it the model's own")
    vision_tower: str | None = _flag(None, "folder or hub name of the vision tower of a LLaVA")
    mm_projector_type: str | None = _flag(None, "linear, mlp1x_gelu or mlp2x_gelu")
    pretrain_mm_mlp_adapter: str | None = _flag(None, "mm_projector.bin of a pretraining")
    mm_vision_select_layer: int | None = _flag(None, "layer of the tower that gives the features")
    mm_vision_select_feature: str | None = _flag(None, "patch or cls_patch")
    mm_patch_merge_type: str | None = _flag(None, "how features of tiles are packed")
    mm_use_im_start_end: bool | None = _flag(None, "put tokens around pictures")
    mm_use_im_patch_token: bool | None = _flag(None, "add a token for patches")
    tune_mm_mlp_adapter: bool = _flag(False, "train the projector alone, as pretrain does")
    freeze_mm_mlp_adapter: bool = _flag(False, "leave the projector as it is")
    freeze_backbone: bool = _flag(False, "leave the language model as it is")
    unfreeze_mm_vision_tower: bool = _flag(False, "train the vision tower too")
    lora_enable: bool = _flag(False, "train a LoRA on the language model, as lora does")
    lora_r: int = _flag(64, "rank of the LoRA's matrices")
    lora_alpha: int = _flag(16, "the LoRA counts by this, divided by its rank")
    lora_dropout: float = _flag(0.05, "share of the LoRA's inputs left out in training")
    lora_bias: str = _flag("none", "only none: biases are not trained")
    lora_weight_path: str = _flag("", "never read by LLaVA")
    bits: int = _flag(16, "8 or 4: quantise the language model under a LoRA (QLoRA)")
    double_quant: bool = _flag(True, "quantise the scales of 4 bits too")
    quant_type: str = _flag("nf4", "form of numbers of 4 bits")


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """What is trained on."""

    data_path: str = _flag("", ".json or .jsonl file, several as {a,b}.json, or a .yaml of them")
    image_folder: str = _flag(".", "folder that pictures are named below")
    video_folder: str | None = _flag(None, "folder that videos are named below, if another")
    image_aspect_ratio: str | None = _flag(None, "how pictures are fitted: square, pad, anyres")
    frames_upbound: int = _flag(8, "frames taken of each video")
    skip_broken: bool = _flag(False, "leave out samples that cannot be trained on")
    lazy_preprocess: bool = _flag(True, "only True: samples are prepared when they are needed")
    is_multimodal: bool = _flag(True, "told by the samples themselves")


@dataclass
class RunFlags(TrainingArguments):
    """How it is trained: the flags of transformers' Trainer, and LLaVA's beside them."""

    model_max_length: int | None = _flag(None, "most tokens of a sample; default: the model's")
    mm_projector_lr: float | None = _flag(None, "learning rate of the projector, if another")
    mm_vision_tower_lr: float | None = _flag(None, "learning rate of the vision tower, if another")
    group_by_modality_length: bool = _flag(
        False, "batches have samples of about one length, all with pictures or all without"
    )
    group_by_length: bool = _flag(False, "batches have samples of about one length")
    cache_dir: str | None = _flag(None, "refused: HF_HOME says where downloads are kept")
    mpt_attn_impl: str | None = _flag(None, "refused: models of MPT's kind do not load")


@dataclass(frozen=True, slots=True)
class TrainingFlags:
    """All flags of a training, and what it makes."""

    mode: Mode
    model: ModelFlags
    data: DataFlags
    run: RunFlags

    @property
    def learning(self) -> dict[str, object]:
        """What a training goes on with alone; more steps or epochs may be asked for."""
        run = {name: getattr(self.run, name) for name in _OF_THE_WEIGHTS}
        return {**asdict(self.model), **asdict(self.data), **run}

    @property
    def output(self) -> Path:
        """The folder that everything is written to."""
        return Path(str(self.run.output_dir))
