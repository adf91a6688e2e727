"""Checkpoints in Hugging Face's layout, loaded with transformers' own classes.

Images go through the PIL backend of its processors: that of torchvision gives other pixels than the
code LLaVA was trained with.
"""

from typing import Any

from transformers import CONFIG_MAPPING, AutoImageProcessor, PreTrainedTokenizerBase
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from llava_serve.chat.rendering import PromptFormat
from llava_serve.checkpoints import adapters, memory, prompts
from llava_serve.checkpoints.instantiate import instantiate, require_memory
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.original.image_processing import FrameProcessor
from llava_serve.checkpoints.precision import LoadOptions
from llava_serve.checkpoints.resolve import HuggingFaceCheckpoint
from llava_serve.checkpoints.settings import PreprocessorConfig, ProcessorConfig, read, usable
from llava_serve.checkpoints.weights import open_folder
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


def load(checkpoint: HuggingFaceCheckpoint, options: LoadOptions) -> LoadedModel:
    """Load the model, and put its adapter onto it where there is one.

    Raises:
        CheckpointError: a file is missing or broken, or weights are missing or left over.
    """
    folder = checkpoint.folder
    weights = open_folder(folder)
    config = config_of(checkpoint)
    text_config = config.get_text_config(decoder=True)
    context = int(text_config.max_position_embeddings)
    require_memory(memory.count(weights, text_config), options, context, folder)
    tokenizer = prompts.tokenizer_of(folder)
    image_processor = image_processor_of(checkpoint)
    frames = _frame_processor(checkpoint, image_processor)
    generation_config = prompts.generation_config(folder, config)
    model = instantiate(config, weights, options.precision, folder)
    model.generation_config = generation_config
    config = model.config
    loaded = LoadedModel(
        name=options.name,
        model_type=checkpoint.model_type,
        model=model,
        tokenizer=tokenizer,
        image_processor=image_processor,
        frames=frames,
        format=format_of(checkpoint, config, tokenizer, options.conv_mode, options.chat_template),
        context_length=context,
        image_token_id=int(config.image_token_id),
        video_token_id=getattr(config, "video_token_id", None) if frames else None,
        stop_ids=prompts.stop_ids(model, tokenizer),
    )
    if checkpoint.adapter is not None:
        is_quantised = options.precision.quantization is not None
        adapters.apply_to_model(model, checkpoint.adapter, is_quantised=is_quantised)
    return loaded


def config_of(checkpoint: HuggingFaceCheckpoint) -> Any:
    """Read config.json as transformers does.

    Raises:
        CheckpointError: a value in it is none that transformers knows.
    """
    with usable(checkpoint.folder / "config.json"):
        return CONFIG_MAPPING[checkpoint.model_type].from_pretrained(checkpoint.folder)


def format_of(
    checkpoint: HuggingFaceCheckpoint,
    config: Any,
    tokenizer: PreTrainedTokenizerBase,
    conv_mode: str | None,
    chat_template: str | None = None,
) -> PromptFormat:
    """Choose the prompt format: the one asked for, the checkpoint's own, or LLaVA's by config.

    Raises:
        CheckpointError: there is none, and no conversation template is known for the model.
    """
    folder, settings = checkpoint.folder, checkpoint.config.raw
    own = prompts.chat_template(folder, tokenizer)
    if conv_mode is not None or (own is None and chat_template is None):
        return prompts.conversation_format(folder.name, settings, tokenizer, conv_mode)
    video_id = getattr(config, "video_token_id", None) if has_video(checkpoint) else None
    image = str(tokenizer.convert_ids_to_tokens(int(config.image_token_id)))
    video = "<video>" if video_id is None else str(tokenizer.convert_ids_to_tokens(video_id))
    if chat_template is not None:
        return prompts.given_format(tokenizer, chat_template, (image, video))
    assert own is not None
    return prompts.own_format(tokenizer, own, (image, video))


def image_processor_of(checkpoint: HuggingFaceCheckpoint) -> Any:
    """Load the image processor.

    Raises:
        CheckpointError: the folder has none.
    """
    try:
        return AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            checkpoint.folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as exc:
        raise CheckpointError(
            f"the image processor in {checkpoint.folder} cannot be loaded: {exc}. "
            "Its settings belong into preprocessor_config.json beside config.json."
        ) from exc


def has_video(checkpoint: HuggingFaceCheckpoint) -> bool:
    """Say whether the family takes video."""
    return checkpoint.model_type in _VIDEO_TYPES


def _frame_processor(
    checkpoint: HuggingFaceCheckpoint, image_processor: Any
) -> FrameProcessor | None:
    """Return what turns frames of a video into tiles, or None for a family without video.

    The settings come from the checkpoint's video processor where it has one, otherwise from its
    image processor.
    """
    if not has_video(checkpoint):
        return None
    folder = checkpoint.folder
    nested = read(ProcessorConfig, folder / "processor_config.json").video_processor
    settings = (
        read(PreprocessorConfig, folder / "video_preprocessor_config.json").raw
        or (isinstance(nested, dict) and nested)
        or image_processor.to_dict()
    )
    kept = {name: settings[name] for name in _FRAME_SETTINGS if settings.get(name) is not None}
    kept.setdefault("do_center_crop", False)
    return FrameProcessor(LlavaImageProcessorPil(**kept, do_pad=False))
