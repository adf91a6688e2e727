"""Prompt format, tokenizer and stop tokens of a checkpoint."""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from llava_serve.chat.choosing import template_for
from llava_serve.chat.rendering import PromptFormat, from_chat_template, from_template
from llava_serve.chat.templates import template_named
from llava_serve.checkpoints.settings import ProcessorConfig, read, usable
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")
_TURN_MARKS = ("<|im_start|>", "<|im_end|>")


def tokenizer_of(folder: Path, **options: Any) -> PreTrainedTokenizerBase:
    """Load the tokenizer in `folder`.

    Raises:
        CheckpointError: there is none that can be loaded.
    """
    if not any((folder / name).exists() for name in _VOCABULARIES):
        raise CheckpointError(
            f"{folder} has no tokenizer: none of {', '.join(_VOCABULARIES)} is there. "
            "Repeat the download."
        )
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError, KeyError, ImportError) as exc:
        raise CheckpointError(f"the tokenizer in {folder} cannot be loaded: {exc}") from exc
    _protect_turn_marks(tokenizer)
    return tokenizer


def _protect_turn_marks(tokenizer: PreTrainedTokenizerBase) -> None:
    """See that nobody can say the marks of turns: in Yi's files they are words like any other."""
    added = tokenizer.added_tokens_decoder.values()
    plain = [token.content for token in added if not token.special]
    tokenizer.add_tokens([mark for mark in _TURN_MARKS if mark in plain], special_tokens=True)


def own_format(
    tokenizer: PreTrainedTokenizerBase, source: str, placeholders: tuple[str, str]
) -> PromptFormat:
    """Return the format of the checkpoint's own chat template, `source` in jinja.

    `placeholders` are what the template writes for an image and for a video.
    """
    options: Any = {"chat_template": source, "tokenize": False, "add_generation_prompt": True}
    apply: Any = partial(tokenizer.apply_chat_template, **options)
    added = tokenizer.added_tokens_decoder.values()
    special = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    pattern = re.compile("|".join(map(re.escape, sorted({*special, *placeholders}))))
    return from_chat_template(apply, *placeholders, lambda text: bool(pattern.search(text)))


def given_format(
    tokenizer: PreTrainedTokenizerBase, source: str, placeholders: tuple[str, str]
) -> PromptFormat:
    """Return the format of a chat template that an operator gives; else as `own_format`.

    Raises:
        CheckpointError: it is none.
    """
    probe = [{"role": "user", "content": "probe"}]
    try:
        tokenizer.apply_chat_template(probe, chat_template=source, tokenize=False)
    except TemplateSyntaxError as exc:
        raise CheckpointError(f"--chat-template: line {exc.lineno} of the file: {exc}") from exc
    except (TemplateError, TypeError):
        pass  # it wants other messages
    own = own_format(tokenizer, source, placeholders)
    return replace(own, name="the chat template given", reason="--chat-template asks for it")


def chat_template_in(path: Path) -> str:
    """Read the jinja source in a file. Raises: CheckpointError."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise CheckpointError(
            f"--chat-template takes a file with a jinja template, and {path} cannot be read: {exc}"
        ) from exc


def conversation_format(
    called: str,
    config: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    conv_mode: str | None,
) -> PromptFormat:
    """Return the format of one of LLaVA's conversation templates: the one asked for, or by config.

    `called` is the checkpoint's name, which counts where the config leaves it open.

    Raises:
        CheckpointError: none is known for this kind of model.
    """
    marks = ("<im_start>", "<im_end>") if config.get("mm_use_im_start_end") else None
    if conv_mode is not None:
        return from_template(template_named(conv_mode), marks, "--conv-mode asks for it")
    try:
        template, reason = template_for(config, tokenizer.get_vocab(), called)
    except ValueError as exc:
        raise CheckpointError(f"{called} has no chat template, and {exc}") from exc
    return from_template(template, marks, reason)


def chat_template(folder: Path, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the jinja source: the processor's own file first, then the tokenizer's."""
    for name in ("chat_template.json", "processor_config.json"):
        if isinstance(source := read(ProcessorConfig, folder / name).chat_template, str):
            return source
    source = tokenizer.chat_template
    return source.get("default") if isinstance(source, dict) else source


def generation_config(folder: Path, text: Any) -> GenerationConfig:
    """Read generation_config.json in `folder`, or derive it from `text`, the language model's.

    Raises:
        CheckpointError: transformers refuses a value in it.
    """
    if (path := folder / "generation_config.json").exists():
        with usable(path):
            return GenerationConfig.from_pretrained(folder, local_files_only=True)
    return GenerationConfig.from_model_config(text)


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Collect the tokens that end an answer, the model's and the tokenizer's."""
    ids: set[int] = set()
    for source in (model.generation_config, model.config.get_text_config(decoder=True), tokenizer):
        eos = getattr(source, "eos_token_id", None)
        ids.update(eos if isinstance(eos, list | tuple) else [] if eos is None else [eos])
    return frozenset(ids)
