"""Vision towers of checkpoints in LLaVA's layout: geometry, weights and normalisation."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig, SiglipVisionConfig

from llava_serve.checkpoints.detect import read_json, refuse_lfs_pointers
from llava_serve.checkpoints.hub import folder_of, is_hub_name
from llava_serve.checkpoints.resolve import OriginalCheckpoint
from llava_serve.checkpoints.settings import (
    REMEDY,
    ModelShape,
    PreprocessorConfig,
    TowerConfig,
    parse,
    read,
    usable,
)
from llava_serve.checkpoints.weights import Weights, open_folder
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

# Per channel: OpenAI's for CLIP, the middle of the range for SigLIP.
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
_CLIP_L = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
}
# The towers of published checkpoints: where the weights are inside the checkpoint, nothing needs
# to be downloaded for these numbers. Sources: config.json of the hub models of these names.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14": _CLIP_L | {"image_size": 224},
    "openai/clip-vit-large-patch14-336": _CLIP_L | {"image_size": 336},
    "google/siglip-so400m-patch14-384": {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 384,
    },
}


@dataclass(frozen=True, slots=True)
class VisionTower:
    """A vision tower as transformers builds it.

    `layer` and `select` say which of its states are the features; `folder` has its own weights and
    is None while they are not needed. `mean` and `std` are per channel, of values from 0 to 1.
    """

    name: str
    config: CLIPVisionConfig | SiglipVisionConfig
    layer: int
    select: str
    folder: Path | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def is_siglip(self) -> bool:
        return isinstance(self.config, SiglipVisionConfig)

    @property
    def has_class_token(self) -> bool:
        """Say whether the features begin with a token for the whole tile."""
        return self.select == "full" and not self.is_siglip

    @property
    def tile(self) -> int:
        """Pixels along one side of a tile."""
        size: Any = self.config.image_size
        return int(size)

    @property
    def side(self) -> int:
        """Patches along one side of a tile."""
        patch: Any = self.config.patch_size
        return self.tile // int(patch)

    def weights(self) -> Weights:
        """Open the tower's own weights, named as in a checkpoint that carries its tower.

        Raises:
            CheckpointError: they are not there.
        """
        folder = self.folder or folder_of(self.name)
        logger.info("the vision tower's weights come from %s", folder)
        opened = open_folder(folder)
        marked = {name: weight for name, weight in opened.items() if "vision_model." in name}
        return {
            "model.vision_tower.vision_tower.vision_model." + name.split("vision_model.", 1)[1]: w
            for name, w in marked.items()
        }


def tower_of(checkpoint: OriginalCheckpoint) -> VisionTower:
    """Find the tower that LLaVA's config.json names.

    Raises:
        CheckpointError: it cannot be found, or it is of a kind that LLaVA never used.
    """
    named = checkpoint.config.mm_vision_tower
    if checkpoint.config.s2:
        raise CheckpointError(
            f"{checkpoint.path} asks for a vision tower of several scales (s2), which does not "
            "load."
        )
    folder = next((place for place in _places(named, checkpoint) if place.is_dir()), None)
    if folder is not None:
        refuse_lfs_pointers(folder)
    name = _published_name(named)
    if folder is None and name not in _PUBLISHED:
        folder = _from_hub(name, checkpoint)
    path = folder / "config.json" if folder else checkpoint.path
    vision = _read(path) if folder else _PUBLISHED[name]
    kind = str(vision.get("model_type", ""))
    if not kind.startswith(("clip", "siglip")):
        raise CheckpointError(
            f"{checkpoint.path} names the vision tower {named}, which is of type {kind!r}; "
            "CLIP and SigLIP load."
        )
    with usable(path):
        config = _siglip_config(vision) if kind.startswith("siglip") else _clip_config(vision)
    is_siglip = isinstance(config, SiglipVisionConfig)
    mean, std = (_HALF, _HALF) if is_siglip else (_CLIP_MEAN, _CLIP_STD)
    pixels = read(PreprocessorConfig, path.with_name("preprocessor_config.json"))
    return VisionTower(
        name=name,
        config=config,
        layer=-1 if is_siglip else _layer(checkpoint, config.num_hidden_layers),
        select="full" if is_siglip else _selected(checkpoint),
        folder=folder,
        mean=tuple((folder and pixels.image_mean) or mean),
        std=tuple((folder and pixels.image_std) or std),
    )


def _clip_config(vision: dict[str, Any]) -> CLIPVisionConfig:
    return CLIPVisionConfig(**_known(CLIPVisionConfig, vision))


def _siglip_config(vision: dict[str, Any]) -> SiglipVisionConfig:
    """Configure SigLIP without its last layer and its head.

    LLaVA deletes them, and takes what the last layer then left returns for the features, whatever
    mm_vision_select_layer says.

    Source: LLaVA-VL/LLaVA-NeXT@df17966 llava/model/multimodal_encoder/siglip_encoder.py
    ::SigLipVisionTower.load_model.
    """
    layers = vision.get("num_hidden_layers", SiglipVisionConfig().num_hidden_layers)
    changed = {"num_hidden_layers": layers - 1, "vision_use_head": False}
    return SiglipVisionConfig(**_known(SiglipVisionConfig, vision) | changed)


def _read(path: Path) -> dict[str, Any]:
    """Read what describes a tower; files of a whole CLIP have it in a part of their own."""
    settings = parse(TowerConfig, path, read_json(path))
    vision = settings.raw | (settings.vision_config.raw if settings.vision_config else {})
    return parse(ModelShape, path, vision).raw


def _layer(checkpoint: OriginalCheckpoint, layers: int) -> int:
    layer = checkpoint.config.mm_vision_select_layer
    layer = -2 if layer is None else layer
    if not -layers - 1 <= layer <= layers:
        raise CheckpointError(
            f"{checkpoint.path} says mm_vision_select_layer {layer}, and the vision tower has "
            f"{layers} layers: from {-layers - 1} to {layers} is possible, and -2 is usual. "
            f"{REMEDY}"
        )
    return layer


def _selected(checkpoint: OriginalCheckpoint) -> str:
    names = {"patch": "default", "cls_patch": "full"}
    feature = checkpoint.config.mm_vision_select_feature or "patch"
    if feature not in names:
        raise CheckpointError(
            f"{checkpoint.path} says mm_vision_select_feature {feature!r}; "
            f"known: {', '.join(names)}."
        )
    return names[feature]


def _places(named: str, checkpoint: OriginalCheckpoint) -> Iterator[Path]:
    """Where a tower's folder can lie: at the path, in the checkpoint or its base, or beside one."""
    yield Path(named).expanduser()
    for folder in filter(None, (checkpoint.folder, checkpoint.base)):
        resolved = folder.resolve()
        for parent in (resolved, resolved.parent):
            yield parent / named
            yield parent / Path(named).name


def _published_name(named: str) -> str:
    """Return the hub's name for a tower that training had in some folder of its own machine."""
    last = Path(named).name
    return next((name for name in _PUBLISHED if name.endswith("/" + last)), named)


def _from_hub(name: str, checkpoint: OriginalCheckpoint) -> Path:
    if is_hub_name(name):
        try:
            return folder_of(name)
        except CheckpointError as exc:
            raise CheckpointError(_unknown(name, checkpoint) + f" ({exc})") from exc
    raise CheckpointError(_unknown(name, checkpoint))


def _unknown(name: str, checkpoint: OriginalCheckpoint) -> str:
    return (
        f"{checkpoint.folder} needs the vision tower {name}, which is not here: put its folder "
        f"beside the checkpoint, as {checkpoint.folder.resolve().parent / Path(name).name}, or "
        f"correct mm_vision_tower in {checkpoint.path}."
    )


def _known(config_class: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Keep what describes the tower, and leave out what files say beside that."""
    geometry = set(config_class().to_dict()) - set(_NOT_GEOMETRY)
    return {name: value for name, value in settings.items() if name in geometry}


_NOT_GEOMETRY = ("model_type", "architectures", "transformers_version", "_name_or_path", "dtype")
