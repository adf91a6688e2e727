"""Training sees what transformers would: the same tiles, the same features, the same places."""

from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from llava_serve.tiny import CHECKPOINT
from scripts.tiny.batch import collate, encode
from scripts.tiny.dialogue import Dialogue, random_dialogue
from scripts.tiny.learner import Learner
from scripts.tiny.recipe import Recipe
from scripts.tiny.scenes import random_scene
from scripts.tiny.tiles import frame, one_of_several, single
from scripts.tiny.world import Size, draw, simple_image

processor: Any = LlavaOnevisionImageProcessorPil.from_pretrained(CHECKPOINT)
tokenizer = PreTrainedTokenizerFast.from_pretrained(CHECKPOINT)
model = LlavaOnevisionForConditionalGeneration.from_pretrained(CHECKPOINT)

SIZES: list[Size] = [
    (96, 96),
    (336, 336),
    (500, 300),
    (240, 560),
    (800, 200),
    (97, 131),
    (640, 480),
]


def as_pixels(values: torch.Tensor) -> np.ndarray:
    array = ((values.numpy() + 1) * 127.5).round().astype(np.uint8)
    pixels: np.ndarray = array.transpose(0, 2, 3, 1)
    return pixels


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_is_tiled_as_the_image_processor_tiles_it(size: Size) -> None:
    image = draw(random_scene(Random(str(size)), size), size)
    expected = as_pixels(processor(images=image, return_tensors="pt")["pixel_values"][0])
    np.testing.assert_array_equal(single(image).pixels, expected)


@pytest.mark.parametrize("size", SIZES)
def test_one_of_several_pictures_is_squared_as_the_image_processor_squares_it(size: Size) -> None:
    image, other = simple_image("star", "blue", size=size), simple_image("circle", "red")
    pixels = processor(images=[[image, other]], return_tensors="pt")["pixel_values"]
    np.testing.assert_array_equal(one_of_several(image).pixels, as_pixels(pixels[0]))


def transformers_hidden(dialogue: Dialogue, ids: torch.Tensor) -> torch.Tensor:
    images = [s.images[0].image for s in dialogue.shown if not s.is_video]
    videos = [[p.image for p in s.images] for s in dialogue.shown if s.is_video]
    inputs = {}
    if images:
        inputs = dict(processor(images=[images], return_tensors="pt"))
    if videos:
        frames = np.stack([frame(image).pixels[0] for image in videos[0]])
        values = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        inputs["pixel_values_videos"] = values[None]
    hidden: torch.Tensor = model.model(input_ids=ids, **inputs).last_hidden_state
    return hidden[0]


@pytest.mark.parametrize("form", ["single", "pair", "clip", "later", "strange"])
def test_hidden_states_equal_those_of_transformers(form: str) -> None:
    rng = Random(f"hidden {form}")
    dialogues = [random_dialogue(rng, Recipe(forms={form: 1.0})) for _ in range(3)]
    samples = [encode(dialogue, tokenizer) for dialogue in dialogues]
    learner = Learner(model)
    with torch.inference_mode():
        batch = collate(samples, pad=0)
        ours, _ = learner.hidden(batch, learner.patches(batch.pixels))
        for i, (dialogue, sample) in enumerate(zip(dialogues, samples, strict=True)):
            length = len(sample.ids)
            theirs = transformers_hidden(dialogue, batch.ids[i : i + 1, :length])
            torch.testing.assert_close(ours[i, :length], theirs, atol=2e-3, rtol=1e-3)


def test_only_answers_are_learned() -> None:
    dialogue = random_dialogue(Random(1), Recipe(forms={"single": 1.0}))
    sample = encode(dialogue, tokenizer)
    learned = tokenizer.decode([label for label in sample.labels if label >= 0])
    answers = "".join(f"{e.turn.answer}<|im_end|>" for e in dialogue.exchanges)
    assert learned == answers
