"""A folder in Hugging Face's layout becomes a loaded model, with every weight accounted for."""

import logging
from typing import Any

from transformers import (
    LlavaForConditionalGeneration,
    LlavaNextForConditionalGeneration,
    LlavaNextVideoForConditionalGeneration,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerBase,
    VipLlavaForConditionalGeneration,
)

from llava_serve.chat.rendering import PromptFormat
from llava_serve.checkpoints import memory, pictures, prompts
from llava_serve.checkpoints.asked import Asked
from llava_serve.checkpoints.detect import Found
from llava_serve.checkpoints.generation import generation_config
from llava_serve.checkpoints.instantiate import instantiate
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.settings import usable
from llava_serve.checkpoints.weights import open_folder

logger = logging.getLogger(__name__)

_CLASSES: dict[str, Any] = {
    "llava": LlavaForConditionalGeneration,
    "llava_next": LlavaNextForConditionalGeneration,
    "llava_onevision": LlavaOnevisionForConditionalGeneration,
    "vipllava": VipLlavaForConditionalGeneration,
    "llava_next_video": LlavaNextVideoForConditionalGeneration,
}


def load(found: Found, asked: Asked) -> LoadedModel:
    """Load `found` with transformers' own class for it.

    Raises:
        CheckpointError: a file is missing or broken, or weights are missing or left over.
    """
    weights = open_folder(found.folder)
    config = config_of(found)
    text_config = config.get_text_config(decoder=True)
    context = int(text_config.max_position_embeddings)
    memory.require(memory.size_of(weights, text_config), asked, context, found.folder)
    tokenizer = prompts.tokenizer_of(found.folder)
    image_processor = pictures.image_processor(found)
    frames = pictures.frames(found, image_processor)
    model = instantiate(
        _CLASSES[found.model_type],
        asked.precision,
        found.folder,
        # Not the folder: transformers chooses among its files in another way than `weight_files`.
        pretrained_model_name_or_path=None,
        config=config,
        state_dict=weights,
        generation_config=generation_config(found.folder, config),
    )
    config = model.config
    prompt_format = format_of(found, model.config, tokenizer, asked.conv_mode)
    logger.info("prompts are made with %s: %s", prompt_format.name, prompt_format.reason)
    return LoadedModel(
        name=asked.name,
        model_type=found.model_type,
        model=model,
        tokenizer=tokenizer,
        image_processor=image_processor,
        frames=frames,
        format=prompt_format,
        context_length=context,
        image_token_id=int(config.image_token_id),
        video_token_id=getattr(config, "video_token_id", None) if frames else None,
        stop_ids=prompts.stop_ids(model, tokenizer),
    )


def config_of(found: Found) -> Any:
    """Read config.json as transformers does.

    Raises:
        CheckpointError: a value in it is none that transformers knows.
    """
    with usable(found.folder / "config.json"):
        return _CLASSES[found.model_type].config_class.from_pretrained(found.folder)


def format_of(
    found: Found, config: Any, tokenizer: PreTrainedTokenizerBase, conv_mode: str | None
) -> PromptFormat:
    """Choose the prompt format: the one asked for, the checkpoint's own, or LLaVA's by config.

    Raises:
        CheckpointError: there is none, and no conversation template is known for the model.
    """
    video_id = getattr(config, "video_token_id", None) if pictures.has_video(found) else None
    image, video = (
        fallback if token_id is None else str(tokenizer.convert_ids_to_tokens(token_id))
        for token_id, fallback in ((int(config.image_token_id), ""), (video_id, "<video>"))
    )
    own = None
    if conv_mode is None:
        own = prompts.own_format(found.folder, tokenizer, (image, video))
    return own or prompts.conversation_format(found.folder.name, found.config, tokenizer, conv_mode)
