"""Loading: the flags of a command become a model in memory."""

import logging
import resource
import sys
import time
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from llava_serve.chat.templates import template_named
from llava_serve.checkpoints import huggingface, memory, precision, prompts
from llava_serve.checkpoints.hub import name_of
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.original import load as original
from llava_serve.checkpoints.precision import LoadOptions
from llava_serve.checkpoints.resolve import Checkpoint, OriginalCheckpoint, resolve
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

_SMALL_PARAMETERS = 50_000_000
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


def load(
    config: ModelConfig,
    conv_mode: str | None = None,
    slots: int = 1,
    checkpoint: Checkpoint | None = None,
) -> LoadedModel:
    """Load the checkpoint that the flags name; nothing is written into its folder.

    `slots` is how many answers will be made at once; it counts in the estimate of memory.
    `checkpoint` is what the flags name, where that is resolved already.

    Raises:
        CheckpointError: it cannot be loaded as asked; the message says what to change.
    """
    started = time.monotonic()
    # It warns at every single multiplication that it computes in float16.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if not sys.stderr.isatty():  # a bar is noise in a log or a pipe
        disable_progress_bar()  # type: ignore[no-untyped-call]
    if conv_mode is not None:
        try:
            template_named(conv_mode)
        except ValueError as exc:
            raise CheckpointError(f"--conv-mode: {exc}") from exc
    checkpoint = checkpoint or resolve(config.model_path, config.model_base)
    name = config.model_name or name_of(config.model_path)
    aspect = config.image_aspect_ratio
    if aspect is not None and not isinstance(checkpoint, OriginalCheckpoint):
        raise CheckpointError(
            f"--image-aspect-ratio has no effect on {checkpoint.adapter or checkpoint.folder}: in "
            "Hugging Face's layout preprocessor_config.json decides. Leave it out."
        )
    chosen = precision.choose(config, checkpoint.config.stored_dtype)
    template = None
    if config.chat_template is not None:
        template = prompts.chat_template_in(Path(config.chat_template))
    options = LoadOptions(chosen, name, conv_mode, aspect, slots, template)
    if isinstance(checkpoint, OriginalCheckpoint):
        loaded = original.load(checkpoint, options)
    else:
        loaded = huggingface.load(checkpoint, options)
    form, tools = loaded.format, "has tools" if loaded.format.tool_calls else "has no tools"
    logger.info("prompts are made with %s, which %s: %s", form.name, tools, form.reason)
    _choose_threads(loaded)
    logger.info(
        "loaded %s in %.1f s; the process has held %s at most",
        name,
        time.monotonic() - started,
        memory.shown(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT),
    )
    return loaded


def _choose_threads(loaded: LoadedModel) -> None:
    """Let a small model compute on one thread.

    Its matrices are so small that threads spend more time meeting at barriers than computing; on a
    busy machine, where one of them has to wait for a core, a step then takes seconds.
    """
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    if loaded.model.device.type == "cpu" and parameters < _SMALL_PARAMETERS:
        torch.set_num_threads(1)
        logger.info("one thread: the model has only %.1f million parameters", parameters / 1e6)
