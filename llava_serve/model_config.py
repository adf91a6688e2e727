"""Settings of the model and of pictures, which a worker and the terminal have in common."""

from dataclasses import dataclass
from typing import Annotated, Literal

from llava_serve import args
from llava_serve.tiny import CHECKPOINT

_PILLOW_MEGAPIXELS = 178  # Pillow itself refuses larger pictures


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Flags of the model; the same for the worker and the terminal."""

    model_path: Annotated[str, "folder or hub name of a LLaVA checkpoint"] = str(CHECKPOINT)
    model_base: Annotated[str | None, "folder or hub name an adapter was trained on"] = None
    model_name: Annotated[str | None, "name to serve under; default: from the path"] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], "where the model runs; auto: cuda, mps, cpu"
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        "precision of the weights; auto: the checkpoint's on an accelerator, float32 on a CPU",
    ] = "auto"
    load_8bit: Annotated[bool, "quantise the language model to 8 bits"] = False
    load_4bit: Annotated[bool, "quantise the language model to 4 bits"] = False
    num_gpus: Annotated[int, "CUDA devices the layers are spread over"] = 1
    max_gpu_memory: Annotated[
        str | None, "most memory for weights on each GPU, like 20GiB; default: what is free"
    ] = None
    use_flash_attn: Annotated[
        bool, "use FlashAttention 2 in the vision tower (CUDA, flash-attn installed)"
    ] = False
    conv_mode: Annotated[
        str | None, "conversation template to use instead of the checkpoint's own"
    ] = None
    chat_template: Annotated[
        str | None, "file with a chat template (jinja) to use instead, as one that knows tools"
    ] = None
    image_aspect_ratio: Annotated[
        str | None,
        "how a checkpoint in LLaVA's original layout fits pictures instead of as its config says: "
        "square, pad, anyres or anyres_max_N",
    ] = None
    kv_cache_tokens: Annotated[
        int | None, "tokens the KV cache holds for all requests; default: from free memory"
    ] = None
    prefill_chunk: Annotated[
        int | None,
        "tokens of new prompts read per step while answers run: less keeps those quicker; default: "
        "what the machine reads in a twentieth of a second",
    ] = None

    def __post_init__(self) -> None:
        args.require_positive(self, "num_gpus", "prefill_chunk", "kv_cache_tokens")
        if self.max_gpu_memory is not None:
            args.bytes_of(self.max_gpu_memory)
        if self.load_8bit and self.load_4bit:
            raise ValueError("--load-8bit and --load-4bit exclude each other")
        if self.chat_template is not None and self.conv_mode is not None:
            raise ValueError("--chat-template and --conv-mode exclude each other")


@dataclass(frozen=True, kw_only=True)
class MediaConfig:
    """Limits of images and videos; the same for the worker and the terminal."""

    max_image_mb: Annotated[float, "largest picture or video file, in 10^6 bytes"] = 20.0
    max_image_megapixels: Annotated[float, "largest picture, in 10^6 pixels"] = 50.0
    max_megapixels_in_flight: Annotated[
        float,
        "10^6 pixels of pictures and frames in memory at once: requests wait for room, and one may "
        "have as many",
    ] = 200.0
    max_images: Annotated[int, "most pictures and videos in one request"] = 16
    num_frames: Annotated[int, "frames sampled from a video when the request does not say"] = 8
    max_frames: Annotated[int, "most frames a request may ask for"] = 64
    allow_remote_media: Annotated[bool, "fetch http(s) addresses of public hosts"] = False

    def __post_init__(self) -> None:
        args.require_positive(self, "max_image_mb", "max_image_megapixels", "max_images")
        args.require_positive(self, "max_megapixels_in_flight", "num_frames", "max_frames")
        if self.max_image_megapixels > _PILLOW_MEGAPIXELS:
            raise ValueError(f"--max-image-megapixels must not exceed {_PILLOW_MEGAPIXELS}")
        if self.max_megapixels_in_flight < self.max_image_megapixels:
            raise ValueError("--max-megapixels-in-flight must hold --max-image-megapixels")
        if self.num_frames > self.max_frames:
            raise ValueError("--num-frames must not exceed --max-frames")
