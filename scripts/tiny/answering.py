"""Lets a checkpoint answer conversations, with transformers' own image processor and generate."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from scripts.tiny.batch import POOLED, layout
from scripts.tiny.conversation import Conversation, Shown
from scripts.tiny.labels import PATCHES
from scripts.tiny.tiles import frame
from scripts.tiny.tokenizer import IMAGE, VIDEO, messages

_MAX_NEW_TOKENS = 80
_BATCH = 16


PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "8bit": {"load_8bit": True},
    "4bit": {"load_4bit": True},
}


class Answerer:
    def __init__(
        self, model: Path, adapter: Path | None = None, precision: str = "float32"
    ) -> None:
        """Load a checkpoint, or an adapter on it, in one of `PRECISIONS`."""
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self._tokenizer.padding_side = "left"
        self._images: Any = LlavaOnevisionImageProcessorPil.from_pretrained(model)
        base = str(model) if adapter else None
        config = ModelConfig(
            model_path=str(adapter or model), model_base=base, **PRECISIONS[precision]
        )
        self._model: Any = load(config).model

    def answers(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, str]]:
        """Answer the last question of each conversation; yields (index, answer), in any order."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, conversation in enumerate(conversations):
            groups.setdefault(_shape(conversation), []).append(i)
        for indices in groups.values():
            for start in range(0, len(indices), _BATCH):
                chosen = indices[start : start + _BATCH]
                yield from zip(
                    chosen, self._answer([conversations[i] for i in chosen]), strict=True
                )

    def _answer(self, conversations: list[Conversation]) -> list[str]:
        prompts = [self._prompt(conversation) for conversation in conversations]
        inputs: dict[str, Any] = dict(self._tokenizer(prompts, return_tensors="pt", padding=True))
        inputs.pop("token_type_ids", None)
        inputs |= self._pixels(conversations)
        inputs = {name: value.to(self._model.device) for name, value in inputs.items()}
        with torch.inference_mode():
            output = self._model.generate(**inputs, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False)
        new = output[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _prompt(self, conversation: Conversation) -> str:
        """The rendered prompt, each placeholder repeated once for every feature."""
        text = self._tokenizer.apply_chat_template(
            messages(conversation, len(conversation.exchanges) - 1),
            tokenize=False,
            add_generation_prompt=True,
        )
        pictures = sum(not shown.is_video for shown in conversation.shown)
        for shown in conversation.shown:
            mark = VIDEO if shown.is_video else IMAGE
            text = str(text).replace(mark, "\0" * _features(shown, alone=pictures == 1), 1)
            text = text.replace("\0", mark.replace("<", "\1"))
        return str(text).replace("\1", "<")

    def _pixels(self, conversations: list[Conversation]) -> dict[str, torch.Tensor]:
        pictures = [
            [shown.pictures[0].image for shown in conversation.shown if not shown.is_video]
            for conversation in conversations
        ]
        clips = [
            np.stack([frame(picture.image).pixels[0] for picture in shown.pictures])
            for conversation in conversations
            for shown in conversation.shown
            if shown.is_video
        ]
        pixels: dict[str, torch.Tensor] = {}
        if any(pictures):
            processed = self._images(images=pictures, return_tensors="pt")
            pixels |= {name: torch.as_tensor(value) for name, value in processed.items()}
        if clips:
            values = torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3)
            pixels["pixel_values_videos"] = values.float() / 127.5 - 1
        return pixels


def _features(shown: Shown, *, alone: bool) -> int:
    if shown.is_video:
        return len(shown.pictures) * POOLED + 1
    return len(layout(shown.pictures[0].image.size)) if alone else PATCHES + 1


def _shape(conversation: Conversation) -> tuple[int, ...]:
    """What conversations of one batch have in common: how many pictures, how many frames."""
    return tuple(len(shown.pictures) if shown.is_video else 0 for shown in conversation.shown)
