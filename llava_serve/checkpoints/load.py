"""Flags become a loaded model: finds the folder, tells its layout, calls the loader for it."""

import logging
import resource
import sys
import time

import torch
from transformers.utils.logging import disable_progress_bar

from llava_serve.chat.templates import template_named
from llava_serve.checkpoints import huggingface, memory, precision
from llava_serve.checkpoints.asked import Asked
from llava_serve.checkpoints.base import is_original, whole_model
from llava_serve.checkpoints.detect import Found, detect
from llava_serve.checkpoints.hub import folder_of
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.naming import name_of
from llava_serve.checkpoints.original import load as original
from llava_serve.checkpoints.original.source import source_of
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

_SMALL_PARAMETERS = 50_000_000
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


def load(config: ModelConfig, conv_mode: str | None = None, slots: int = 1) -> LoadedModel:
    """Load the checkpoint that the flags name; nothing is written into its folder.

    `slots` is how many answers will be made at once; it counts in the estimate of memory.

    Raises:
        CheckpointError: it cannot be loaded as asked; the message says what to change.
    """
    started = time.monotonic()
    # It warns at every single multiplication that it computes in float16.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if not sys.stderr.isatty():  # a bar is noise in a log or a pipe
        disable_progress_bar()  # type: ignore[no-untyped-call]
    if conv_mode is not None:
        _check_conv_mode(conv_mode)
    given = detect(folder_of(config.model_path))
    name = config.model_name or name_of(config.model_path)
    if is_original(given, config.model_base):
        source = source_of(given, config.model_base)
        chosen = precision.choose(config, source.config)
        asked = Asked(chosen, name, conv_mode, config.image_aspect_ratio, slots)
        loaded = original.load(source, asked)
    else:
        _require_no_aspect(given, config)
        base = whole_model(given, config.model_base)
        chosen = precision.choose(config, base.config)
        loaded = huggingface.load(base, Asked(chosen, name, conv_mode, slots=slots))
        if given.layout == "adapter":
            from llava_serve.checkpoints import adapters  # peft takes seconds to import

            adapters.apply(loaded.model, given, is_quantised=chosen.quantization is not None)
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


def _require_no_aspect(given: Found, config: ModelConfig) -> None:
    if config.image_aspect_ratio is not None:
        raise CheckpointError(
            f"--image-aspect-ratio has no effect on {given.folder}: in Hugging Face's layout "
            "preprocessor_config.json decides. Leave it out."
        )


def _check_conv_mode(conv_mode: str) -> None:
    try:
        template_named(conv_mode)
    except ValueError as exc:
        raise CheckpointError(f"--conv-mode: {exc}") from exc
