"""Our path gives what transformers' own processor and `generate` give, token for token."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import (
    LlavaForConditionalGeneration,
    LlavaNextProcessor,
    LlavaNextVideoProcessor,
    LlavaOnevisionProcessor,
    LlavaProcessor,
)

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.attention import AttentionSegment
from llava_serve.engines.torch.model_runner import ModelRunner
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.engines.torch.vision import EmbeddedPrompt, ImageFeatureCache, merge_image_features
from llava_serve.request import Conversation, Image, Message, Video
from scripts import random_checkpoint

Load = Callable[[str], LoadedModel]
MakeImage = Callable[[int, int], Image]

NEW_TOKENS = 24
SIZES = {"wide": (96, 40), "tall": (30, 99), "small": (9, 7), "square": (64, 64)}


class WithoutVideo:
    """Lets a processor do without the video processor, which needs torchvision."""

    def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
        if argument is None:
            return None
        return super().check_argument_for_proper_class(name, argument)  # type: ignore[misc]


class OnevisionProcessor(WithoutVideo, LlavaOnevisionProcessor):
    pass


class NextVideoProcessor(WithoutVideo, LlavaNextVideoProcessor):
    pass


CLIP_TOWER = {
    "patch_size": 8,
    "num_additional_image_tokens": 1,
    "vision_feature_select_strategy": "default",
}
PROCESSORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "llava": (LlavaProcessor, CLIP_TOWER),
    "llava_interleave": (
        LlavaProcessor,
        {"patch_size": 8, "vision_feature_select_strategy": "full"},
    ),
    "vipllava": (LlavaProcessor, CLIP_TOWER),
    "llava_next": (LlavaNextProcessor, CLIP_TOWER),
    "llava_next_video": (NextVideoProcessor, CLIP_TOWER),
    "llava_onevision": (
        OnevisionProcessor,
        {"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
    ),
}


def ours(loaded: LoadedModel, *parts: str | Image | Video) -> EmbeddedPrompt:
    items = PromptTokenizer(loaded).tokenize(Conversation((Message("user", parts),)))
    media = [item for item in items if not isinstance(item, int)]
    return merge_image_features(
        loaded, items, ImageFeatureCache(loaded, cache_bytes=0).encode(media)
    )


def greedy(loaded: LoadedModel, prompt: EmbeddedPrompt) -> list[int]:
    """Compute the prompt in two chunks, then answer."""
    length = len(prompt.tokens)
    runner = ModelRunner(loaded.model, kv_tokens=length + NEW_TOKENS + 5)
    half = length // 2
    runner.forward(prompt.embeddings[:half], [AttentionSegment(0, half, 5, 0)])
    logits = runner.forward(prompt.embeddings[half:], [AttentionSegment(0, length - half, 5, half)])
    generated = [int(logits.argmax())]
    while len(generated) < NEW_TOKENS:
        last = runner.embed(generated[-1:])
        logits = runner.forward(last, [AttentionSegment(0, 1, 5, length + len(generated) - 1)])
        generated.append(int(logits.argmax()))
    return generated


def theirs(loaded: LoadedModel, **inputs: torch.Tensor) -> list[int]:
    loaded.model.model.language_model.set_attn_implementation("sdpa")
    output = loaded.model.generate(  # type: ignore[operator]
        **inputs, do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=None
    )
    return list(output[0, inputs["input_ids"].shape[1] :].tolist())


def processed(family: str, loaded: LoadedModel, *parts: str | Image) -> dict[str, Any]:
    processor_class, settings = PROCESSORS[family]
    processor = processor_class(
        image_processor=loaded.image_processor,
        tokenizer=loaded.tokenizer,
        chat_template=loaded.tokenizer.chat_template,
        **settings,
    )
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "image": part.image}
        for part in parts
    ]
    return dict(
        processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
        )
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", PROCESSORS)
def test_one_picture_gives_the_same_tokens(
    loaded: Load, picture: MakeImage, family: str, size: str
) -> None:
    model = loaded(family)
    parts = (picture(*SIZES[size]), "What is this?")
    inputs = processed(family, model, *parts)
    prompt = ours(model, *parts)
    assert prompt.tokens == inputs["input_ids"][0].tolist()
    assert greedy(model, prompt) == theirs(model, **inputs)


@pytest.mark.parametrize("family", PROCESSORS)
def test_several_pictures_give_the_same_tokens(
    loaded: Load, picture: MakeImage, family: str
) -> None:
    model = loaded(family)
    parts = ("One:", picture(96, 40), "two:", picture(30, 99), "Same?")
    inputs = processed(family, model, *parts)
    prompt = ours(model, *parts)
    assert prompt.tokens == inputs["input_ids"][0].tolist()
    assert greedy(model, prompt) == theirs(model, **inputs)


@pytest.mark.parametrize("family", PROCESSORS)
def test_text_alone_gives_the_same_tokens(loaded: Load, family: str) -> None:
    model = loaded(family)
    prompt = ours(model, "Hello, 世界!")
    inputs = processed(family, model, "Hello, 世界!")
    assert prompt.tokens == inputs["input_ids"][0].tolist()
    assert greedy(model, prompt) == theirs(model, **inputs)


@pytest.mark.parametrize("family", ["llava_onevision", "llava_next_video"])
def test_a_clip_gives_the_same_tokens(loaded: Load, picture: MakeImage, family: str) -> None:
    model = loaded(family)
    frames = tuple(picture(40, side) for side in (30, 40, 50))
    prompt = ours(model, Video(frames), "What moves?")
    pixels = torch.stack([tile(model, frame.image) for frame in frames])[None]
    ids = [
        model.video_token_id if token == model.image_token_id else token for token in prompt.tokens
    ]
    inputs = {"input_ids": torch.tensor([ids]), "pixel_values_videos": pixels}
    assert greedy(model, prompt) == theirs(model, **inputs)


def tile(loaded: LoadedModel, image: PIL.Image.Image) -> torch.Tensor:
    """One frame as the family's video processor makes it, written out: float32 (3, 32, 32)."""
    processor = loaded.image_processor
    if loaded.model_type == "llava_onevision":
        image = image.resize((32, 32), PIL.Image.Resampling.BICUBIC)
    else:
        scale = 32 / min(image.size)
        width, height = int(image.width * scale), int(image.height * scale)
        image = image.resize((width, height), PIL.Image.Resampling.BICUBIC)
        left, top = (width - 32) // 2, (height - 32) // 2
        image = image.crop((left, top, left + 32, top + 32))
    pixels = np.asarray(image, dtype=np.float32) / 255
    normalised = (pixels - np.float32(processor.image_mean)) / np.float32(processor.image_std)
    return torch.from_numpy(normalised.transpose(2, 0, 1))


@pytest.mark.parametrize("sizes", [["wide"], ["wide", "tall", "square"]], ids=len)
def test_interleave_s_folder_gives_what_transformers_alone_makes_of_it(
    picture: MakeImage, tmp_path: Path, sizes: list[str]
) -> None:
    random_checkpoint.write("llava_interleave", tmp_path)
    loaded = load(ModelConfig(model_path=str(tmp_path), device="cpu"))
    processor_class, settings = PROCESSORS["llava_interleave"]
    processor_class(
        image_processor=loaded.image_processor,
        tokenizer=loaded.tokenizer,
        chat_template=loaded.tokenizer.chat_template,
        **settings,
    ).save_pretrained(tmp_path)
    images = [picture(*SIZES[size]) for size in sizes]
    processor = processor_class.from_pretrained(tmp_path)
    content: list[dict[str, Any]] = [{"type": "image", "image": each.image} for each in images]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": [*content, {"type": "text", "text": "What differs?"}]}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
    )
    model: Any = LlavaForConditionalGeneration.from_pretrained(tmp_path)
    output = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=None)
    again = load(ModelConfig(model_path=str(tmp_path), device="cpu"))
    prompt = ours(again, *images, "What differs?")
    assert prompt.image_tokens == 16 * len(sizes)
    assert greedy(again, prompt) == output[0, len(prompt.tokens) :].tolist()


def test_a_picture_changes_the_answer(loaded: Load, picture: MakeImage) -> None:
    model = loaded("llava_onevision")
    answers = [
        greedy(model, ours(model, picture(*size), "What is this?")) for size in ((64, 64), (96, 96))
    ]
    assert answers[0] != answers[1]


def test_several_pictures_get_one_tile_each_in_onevision(loaded: Load, picture: MakeImage) -> None:
    model = loaded("llava_onevision")
    one_tile = 4 * 4 + 1  # patches of a tile and a newline
    assert ours(model, picture(96, 40)).image_tokens > 2 * one_tile
    assert ours(model, picture(96, 40), picture(96, 40)).image_tokens == 2 * one_tile
