"""Predictor: the bundled checkpoint answers dialogues through transformers alone."""

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
from scripts.tiny.dialogue import Dialogue, Medium
from scripts.tiny.tiles import PATCHES, frame
from scripts.tiny.tokenizer import IMAGE, VIDEO, messages

_MAX_NEW_TOKENS = 80
_BATCH = 16


class Predictor:
    """A checkpoint that answers dialogues greedily with transformers' `generate`."""

    def __init__(self, model: Path, adapter: Path | None = None) -> None:
        """Load a checkpoint, or an adapter on it, in float32."""
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self._tokenizer.padding_side = "left"
        self._images: Any = LlavaOnevisionImageProcessorPil.from_pretrained(model)
        base = str(model) if adapter else None
        config = ModelConfig(model_path=str(adapter or model), model_base=base, dtype="float32")
        self._model: Any = load(config).model

    def answers(self, dialogues: Sequence[Dialogue]) -> Iterator[tuple[int, str]]:
        """Answer the last question of each dialogue; yields (index, answer), in any order."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, dialogue in enumerate(dialogues):
            groups.setdefault(_shape(dialogue), []).append(i)
        for indices in groups.values():
            for start in range(0, len(indices), _BATCH):
                chosen = indices[start : start + _BATCH]
                yield from zip(chosen, self._answer([dialogues[i] for i in chosen]), strict=True)

    def _answer(self, dialogues: list[Dialogue]) -> list[str]:
        prompts = [self._prompt(dialogue) for dialogue in dialogues]
        inputs: dict[str, Any] = dict(self._tokenizer(prompts, return_tensors="pt", padding=True))
        inputs.pop("token_type_ids", None)
        inputs |= self._pixels(dialogues)
        inputs = {name: value.to(self._model.device) for name, value in inputs.items()}
        with torch.inference_mode():
            output = self._model.generate(**inputs, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False)
        new = output[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _prompt(self, dialogue: Dialogue) -> str:
        """The rendered prompt, each placeholder repeated once for every feature."""
        text = self._tokenizer.apply_chat_template(
            messages(dialogue, len(dialogue.exchanges) - 1),
            tokenize=False,
            add_generation_prompt=True,
        )
        images = sum(not shown.is_video for shown in dialogue.shown)
        for shown in dialogue.shown:
            mark = VIDEO if shown.is_video else IMAGE
            text = str(text).replace(mark, "\0" * _features(shown, alone=images == 1), 1)
            text = text.replace("\0", mark.replace("<", "\1"))
        return str(text).replace("\1", "<")

    def _pixels(self, dialogues: list[Dialogue]) -> dict[str, torch.Tensor]:
        images = [
            [shown.images[0].image for shown in dialogue.shown if not shown.is_video]
            for dialogue in dialogues
        ]
        videos = [
            np.stack([frame(drawn.image).pixels[0] for drawn in shown.images])
            for dialogue in dialogues
            for shown in dialogue.shown
            if shown.is_video
        ]
        pixels: dict[str, torch.Tensor] = {}
        if any(images):
            processed = self._images(images=images, return_tensors="pt")
            pixels |= {name: torch.as_tensor(value) for name, value in processed.items()}
        if videos:
            values = torch.from_numpy(np.stack(videos)).permute(0, 1, 4, 2, 3)
            pixels["pixel_values_videos"] = values.float() / 127.5 - 1
        return pixels


def _features(shown: Medium, *, alone: bool) -> int:
    if shown.is_video:
        return len(shown.images) * POOLED + 1
    return len(layout(shown.images[0].image.size)) if alone else PATCHES + 1


def _shape(dialogue: Dialogue) -> tuple[int, ...]:
    """What dialogues of one batch have in common: how many images, how many frames."""
    return tuple(len(shown.images) if shown.is_video else 0 for shown in dialogue.shown)
