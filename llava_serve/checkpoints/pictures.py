"""How a checkpoint wants its pictures and frames: transformers' processors, PIL backend.

torchvision is not needed: its backend gives other pixels than the code LLaVA was trained with.
"""

from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from llava_serve.checkpoints.detect import Found, read_json
from llava_serve.checkpoints.loaded import Frames
from llava_serve.errors import CheckpointError

_VIDEO_TYPES = ("llava_onevision", "llava_next_video")
# One square tile from one frame; everything else of a video processor concerns sampling.
_FRAME_SETTINGS = (
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
)


def image_processor(found: Found) -> Any:
    """Load the image processor of `found`.

    Raises:
        CheckpointError: the folder has none.
    """
    try:
        return AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            found.folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as exc:
        raise CheckpointError(
            f"the image processor in {found.folder} cannot be loaded: {exc}. "
            "Its settings belong into preprocessor_config.json beside config.json."
        ) from exc


def has_video(found: Found) -> bool:
    """Say whether the family takes video."""
    return found.model_type in _VIDEO_TYPES


def frames(found: Found, processor: Any) -> Frames | None:
    """Return what turns frames of a clip into tiles, or None for a family without video.

    The settings come from the checkpoint's video processor where it has one, otherwise from its
    image processor.
    """
    if not has_video(found):
        return None
    settings = _video_settings(found) or processor.to_dict()
    kept = {name: settings[name] for name in _FRAME_SETTINGS if settings.get(name) is not None}
    kept.setdefault("do_center_crop", False)
    square = LlavaImageProcessorPil(**kept, do_pad=False)

    def tiles(images: list[Image.Image]) -> torch.Tensor:
        values: torch.Tensor = square(images, return_tensors="pt")["pixel_values"]
        return values

    return tiles


def _video_settings(found: Found) -> dict[str, Any] | None:
    separate = found.folder / "video_preprocessor_config.json"
    if separate.exists():
        return read_json(separate)
    nested = found.folder / "processor_config.json"
    if nested.exists():
        settings = read_json(nested).get("video_processor")
        return settings if isinstance(settings, dict) else None
    return None
