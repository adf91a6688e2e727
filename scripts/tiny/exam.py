"""An exam: questions of every kind from a seed that training never uses, and who answers them."""

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
from scripts.tiny.beyond import ask_beyond
from scripts.tiny.conversation import Conversation, Exchange, Picture, Shown, random_conversation
from scripts.tiny.questions import ASKERS
from scripts.tiny.recipe import SINGLE_MIX, Recipe
from scripts.tiny.tiles import PATCHES, frame
from scripts.tiny.tokenizer import IMAGE, VIDEO, messages

# The kinds of the table; manners are what it says where there is nothing to see.
SIGHTED = (*ASKERS, "which picture", "change", "motion", "follow-up", "later picture")
MANNERS = ("beyond", "no picture")
_FORMS = {"which picture": "pair", "change": "change", "motion": "clip", "no picture": "nothing"}
_GRAY = (127, 127, 127)


def draw_exam(
    questions: int, seed: int, kinds: tuple[str, ...] = SIGHTED + MANNERS
) -> list[Conversation]:
    """Equally many questions of each kind; the last question of a conversation is the one asked."""
    each = -(-questions // len(kinds))
    rngs = {kind: Random(f"exam {seed} {kind}") for kind in kinds}
    return [_draw(rngs[kind], kind) for kind in kinds for _ in range(each)]


def kind_of(conversation: Conversation) -> str:
    if conversation.form in ("follow-up", "later picture"):
        return conversation.form
    return conversation.exchanges[-1].turn.kind


def _draw(rng: Random, kind: str) -> Conversation:
    if kind == "beyond":
        return _beyond(rng)
    if kind == "follow-up":
        recipe = Recipe(forms={"single": 1.0}, turns=3)
        return replace(_until(rng, recipe, _has_two), form=kind)
    if kind == "later picture":
        return replace(_until(rng, Recipe(forms={"later": 1.0}, turns=2), _has_two), form=kind)
    form = _FORMS.get(kind, "single")
    kinds = {kind: 1.0} if kind in ASKERS else SINGLE_MIX
    recipe = Recipe(forms={form: 1.0}, kinds=kinds, turns=7)

    def asks_it(conversation: Conversation) -> bool:
        scene = conversation.shown[0].pictures[0].scene if conversation.shown else None
        if kind == "number" and not (scene and scene.number):
            return rng.random() < 0.02  # seldom a picture without one
        return any(exchange.turn.kind == kind for exchange in conversation.exchanges)

    conversation = _until(rng, recipe, asks_it)
    turn = next(e.turn for e in conversation.exchanges if e.turn.kind == kind)
    first = replace(conversation.exchanges[0], turn=turn)
    return replace(conversation, exchanges=(first,))


def _until(rng: Random, recipe: Recipe, fits: Callable[[Conversation], bool]) -> Conversation:
    while not fits(conversation := random_conversation(rng, recipe)):
        pass
    return conversation


def _has_two(conversation: Conversation) -> bool:
    return len(conversation.exchanges) > 1 and conversation.exchanges[-1].turn.kind != "beyond"


def _beyond(rng: Random) -> Conversation:
    """A question never trained on, half of the time beside a picture."""
    turn = ask_beyond(rng, held_out=True)
    if rng.random() < 0.5:
        return Conversation((Exchange(turn),), form="beyond")
    conversation = random_conversation(rng, Recipe(forms={"single": 1.0}, turns=1))
    return replace(conversation, exchanges=(replace(conversation.exchanges[0], turn=turn),))


def blanked(conversation: Conversation) -> Conversation:
    """The same conversation with plain gray in place of every picture."""

    def blank(shown: Shown) -> Shown:
        pictures = (Picture(Image.new("RGB", p.image.size, _GRAY), None) for p in shown.pictures)
        return replace(shown, pictures=tuple(pictures))

    exchanges = (
        replace(exchange, shown=tuple(blank(shown) for shown in exchange.shown))
        for exchange in conversation.exchanges
    )
    return replace(conversation, exchanges=tuple(exchanges))


def removed(conversation: Conversation) -> Conversation:
    """The same conversation with no picture at all."""
    exchanges = (replace(exchange, shown=()) for exchange in conversation.exchanges)
    return replace(conversation, exchanges=tuple(exchanges))


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
