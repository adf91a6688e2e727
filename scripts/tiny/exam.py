"""Exams: held-out questions of every kind, controls without images, and a model that answers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from scripts.tiny.batch import POOLED, layout
from scripts.tiny.dialogue import Dialogue, DialogueExchange, DrawnImage, Medium, random_dialogue
from scripts.tiny.out_of_domain import ask_out_of_domain
from scripts.tiny.questions import ASKERS
from scripts.tiny.recipe import SINGLE_MIX, Recipe
from scripts.tiny.tiles import PATCHES, frame
from scripts.tiny.tokenizer import IMAGE, VIDEO, messages

# The rows of the table; a refusal is right where there is nothing to see.
VISUAL_KINDS = (*ASKERS, "which picture", "change", "motion", "follow-up", "later picture")
REFUSAL_KINDS = ("beyond", "no picture")
_FORMS = {"which picture": "pair", "change": "change", "motion": "clip", "no picture": "nothing"}
_GRAY = (127, 127, 127)


def draw_exam(
    questions: int, seed: int, kinds: tuple[str, ...] = VISUAL_KINDS + REFUSAL_KINDS
) -> list[Dialogue]:
    """Draw equally many questions of each kind; the last one of a dialogue is the one asked."""
    each = -(-questions // len(kinds))
    rngs = {kind: Random(f"exam {seed} {kind}") for kind in kinds}
    return [_draw(rngs[kind], kind) for kind in kinds for _ in range(each)]


def kind_of(dialogue: Dialogue) -> str:
    """Return the row of the table that a dialogue counts for."""
    if dialogue.form in ("follow-up", "later picture"):
        return dialogue.form
    return dialogue.exchanges[-1].turn.kind


def _draw(rng: Random, kind: str) -> Dialogue:
    if kind == "beyond":
        return _out_of_domain(rng)
    if kind == "follow-up":
        recipe = Recipe(forms={"single": 1.0}, turns=3)
        return replace(_until(rng, recipe, _has_two), form=kind)
    if kind == "later picture":
        return replace(_until(rng, Recipe(forms={"later": 1.0}, turns=2), _has_two), form=kind)
    form = _FORMS.get(kind, "single")
    kinds = {kind: 1.0} if kind in ASKERS else SINGLE_MIX
    recipe = Recipe(forms={form: 1.0}, kinds=kinds, turns=7)

    def asks_it(dialogue: Dialogue) -> bool:
        scene = dialogue.shown[0].images[0].scene if dialogue.shown else None
        if kind == "number" and not (scene and scene.number):
            return rng.random() < 0.02  # seldom an image without one
        return any(exchange.turn.kind == kind for exchange in dialogue.exchanges)

    dialogue = _until(rng, recipe, asks_it)
    turn = next(e.turn for e in dialogue.exchanges if e.turn.kind == kind)
    first = replace(dialogue.exchanges[0], turn=turn)
    return replace(dialogue, exchanges=(first,))


def _until(rng: Random, recipe: Recipe, fits: Callable[[Dialogue], bool]) -> Dialogue:
    while not fits(dialogue := random_dialogue(rng, recipe)):
        pass
    return dialogue


def _has_two(dialogue: Dialogue) -> bool:
    return len(dialogue.exchanges) > 1 and dialogue.exchanges[-1].turn.kind != "beyond"


def _out_of_domain(rng: Random) -> Dialogue:
    """A question never trained on, half of the time beside an image."""
    turn = ask_out_of_domain(rng, held_out=True)
    if rng.random() < 0.5:
        return Dialogue((DialogueExchange(turn),), form="beyond")
    dialogue = random_dialogue(rng, Recipe(forms={"single": 1.0}, turns=1))
    return replace(dialogue, exchanges=(replace(dialogue.exchanges[0], turn=turn),))


def blanked(dialogue: Dialogue) -> Dialogue:
    """Copy a dialogue with plain gray in place of every image."""

    def blank(shown: Medium) -> Medium:
        images = (DrawnImage(Image.new("RGB", p.image.size, _GRAY), None) for p in shown.images)
        return replace(shown, images=tuple(images))

    exchanges = (
        replace(exchange, shown=tuple(blank(shown) for shown in exchange.shown))
        for exchange in dialogue.exchanges
    )
    return replace(dialogue, exchanges=tuple(exchanges))


def removed(dialogue: Dialogue) -> Dialogue:
    """Copy a dialogue without its images."""
    exchanges = (replace(exchange, shown=()) for exchange in dialogue.exchanges)
    return replace(dialogue, exchanges=tuple(exchanges))


_MAX_NEW_TOKENS = 80
_BATCH = 16


PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "8bit": {"load_8bit": True},
    "4bit": {"load_4bit": True},
}


class Predictor:
    """A checkpoint that answers dialogues greedily with transformers' `generate`."""

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
