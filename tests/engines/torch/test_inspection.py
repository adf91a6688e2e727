"""An inspection says of a request what its answer then reports, and generates nothing."""

import base64
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from PIL import Image as PilImage

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch import prompt_inspection
from llava_serve.engines.torch.budget import EngineBudget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.errors import EngineLost, MediaNotAccepted
from llava_serve.protocol.inspection import InspectedImage, InspectedVideo, Inspection
from llava_serve.request import (
    Conversation,
    GenerateRequest,
    Image,
    InspectRequest,
    Message,
    SamplingParams,
    Video,
)
from tests.engines.torch.conftest import CONTEXT, collect

Load = Callable[[str], LoadedModel]
MakeImage = Callable[[int, int], Image]
Part = str | Image | Video

LIMIT = SamplingParams(temperature=0, max_new_tokens=1)
FAMILIES = [
    *("llava", "llava_interleave", "llava_next", "llava_onevision", "vipllava"),
    "llava_next_video",
]


@asynccontextmanager
async def running(loaded: LoadedModel, budget: EngineBudget) -> AsyncIterator[TorchEngine]:
    engine = TorchEngine(loaded, budget)
    try:
        yield engine
    finally:
        engine.close()


def said(*parts: Part) -> Conversation:
    return Conversation((Message("user", parts),))


async def inspected(
    engine: TorchEngine,
    conversation: Conversation,
    sampling: SamplingParams = LIMIT,
    with_pixels: bool = False,
) -> Inspection:
    return await engine.inspect(
        InspectRequest(conversation=conversation, sampling=sampling, with_pixels=with_pixels)
    )


async def check(engine: TorchEngine, conversation: Conversation) -> Inspection:
    """Compare an inspection with the answer to the same, and with one behind it."""
    before = await inspected(engine, conversation)
    request = GenerateRequest(request_id="r", prompt=conversation, sampling=LIMIT)
    _, last = await collect(engine.stream(request))
    after = await inspected(engine, conversation)
    usage, prompt = last.usage, before.prompt
    assert usage is not None and prompt is not None and after.prompt is not None
    assert (prompt.tokens, prompt.media_tokens) == (usage.prompt_tokens, usage.image_tokens)
    assert prompt.cached_tokens == usage.cached_tokens
    assert not any(each.cached for each in before.media)
    assert all(each.cached for each in after.media)
    assert after.prompt.cached_tokens == prompt.tokens - 1  # the last one is read for its logits
    parts = [each.text_tokens + each.media_tokens for each in prompt.messages]
    assert prompt.template_tokens + sum(parts) == prompt.tokens
    assert prompt.template_tokens > 0
    return after


@pytest.mark.parametrize("family", FAMILIES)
async def test_tokens_are_those_of_the_answer_which_leaves_them_cached(
    loaded: Load, picture: MakeImage, budget: EngineBudget, family: str
) -> None:
    async with running(loaded(family), budget) as engine:
        await check(engine, said(picture(90, 40), "What?"))
        told = await check(
            engine,
            Conversation(
                (
                    Message("system", ("Be brief.",)),
                    Message("user", (picture(33, 90), picture(64, 64), "And these?")),
                )
            ),
        )
    assert told.prompt is not None
    assert [message.role for message in told.prompt.messages] == ["system", "user"]
    assert [each.message for each in told.media] == [1, 1]
    assert told.prompt.messages[0].text_tokens == len("Be brief.")


@pytest.mark.parametrize("family", ["llava_onevision", "llava_next_video"])
@pytest.mark.parametrize("frames", [1, 3])
async def test_a_clip_has_its_frames_and_their_tokens(
    loaded: Load, picture: MakeImage, budget: EngineBudget, family: str, frames: int
) -> None:
    video = Video(tuple(replace(picture(40 + i, 40), time_s=i / 2) for i in range(frames)))
    async with running(loaded(family), budget) as engine:
        told = await check(engine, said(video, "What moves?"))
    (clip,) = told.media
    assert isinstance(clip, InspectedVideo)
    assert [frame.time_s for frame in clip.frames] == [i / 2 for i in range(frames)]
    assert sum(frame.tokens for frame in clip.frames) + clip.newline_tokens == clip.tokens
    assert clip.newline_tokens == (family == "llava_onevision")


async def test_a_picture_that_is_cached_still_has_its_tiles(
    loaded: Load, picture: MakeImage, budget: EngineBudget
) -> None:
    async with running(loaded("llava_next"), budget) as engine:
        before = await inspected(engine, said(picture(90, 40), "What?"))
        after = await check(engine, said(picture(90, 40), "What?"))
    assert after.media == [each.model_copy(update={"cached": True}) for each in before.media]


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_coarse_picture_is_one_tile_and_cached_apart(
    loaded: Load, picture: MakeImage, budget: EngineBudget, family: str
) -> None:
    fine = picture(90, 40)
    coarse = replace(fine, is_coarse=True)
    async with running(loaded(family), budget) as engine:
        whole = (await check(engine, said(fine, "What?"))).media[0]
        is_tiled = isinstance(whole, InspectedImage) and len(whole.tiles) > 1
        if not is_tiled:  # the same features serve both
            again = await inspected(engine, said(coarse, "What?"))
            assert again.media == [whole]
            return
        low = (await check(engine, said(coarse, "What?"))).media[0]
        both = await inspected(engine, said(coarse, "and", fine), with_pixels=True)
    assert isinstance(low, InspectedImage) and isinstance(whole, InspectedImage)
    assert (len(low.tiles), low.grid, low.canvas_size) == (1, (1, 1), low.tile_size)
    assert (low.tiles[0].shows, low.tiles[0].tokens) == (low.kept, whole.overview_tokens)
    assert low.tokens == whole.overview_tokens + low.newline_tokens < whole.tokens
    assert [each.tokens for each in both.media] == (
        [low.tokens] * 2 if family == "llava_onevision" else [low.tokens, whole.tokens]
    )


async def test_the_prompt_is_told_with_its_places(
    loaded: Load, picture: MakeImage, budget: EngineBudget
) -> None:
    red, blue, typed = picture(40, 40), picture(40, 41), "is <image> a tag?"
    async with running(loaded("llava_onevision"), budget) as engine:
        told = await inspected(engine, said(red, typed, blue))
    assert told.prompt is not None
    assert [(each.type, each.text, each.media) for each in told.prompt.segments] == [
        ("template", "<|im_start|>user\n", None),
        ("media", None, 0),
        ("template", "\n", None),
        ("text", typed, None),
        ("media", None, 1),
        ("template", "\n<|im_end|>\n<|im_start|>assistant\n", None),
    ]


async def test_what_does_not_fit_is_told_all_the_same(
    loaded: Load, picture: MakeImage, budget: EngineBudget
) -> None:
    red = picture(40, 40)
    async with running(loaded("llava_onevision"), budget) as engine:
        fitting = await inspected(engine, said("word"), SamplingParams())
        asked = SamplingParams(max_new_tokens=CONTEXT)
        too_much = await inspected(engine, said("word"), asked)
        over = await inspected(engine, said("long " * 110, red), SamplingParams())
        beyond = await inspected(engine, said("long " * 100_000, red), SamplingParams())
    assert fitting.prompt is not None and over.prompt is not None
    left = CONTEXT - fitting.prompt.tokens
    assert (fitting.fits, fitting.tokens_left, fitting.max_tokens) == (True, left, left)
    assert (too_much.fits, too_much.tokens_left, too_much.max_tokens) == (False, left, CONTEXT)
    assert over.prompt.tokens > CONTEXT == over.context_length
    assert (over.fits, over.tokens_left, over.max_tokens) == (False, 0, None)
    assert (beyond.fits, beyond.prompt, beyond.media) == (False, None, over.media)


async def test_pixels_come_when_asked_for_and_only_of_so_many_tiles(
    loaded: Load, picture: MakeImage, budget: EngineBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = said(picture(40, 40), picture(41, 41), "What?")
    monkeypatch.setattr(prompt_inspection, "MOST_SHOWN", 5)
    async with running(loaded("llava_next"), budget) as engine:
        without = await inspected(engine, asked)
        told = await inspected(engine, asked, with_pixels=True)

    def shown(inspection: Inspection) -> list[int]:
        images = [each for each in inspection.media if isinstance(each, InspectedImage)]
        return [sum(tile.pixels is not None for tile in each.tiles) for each in images]

    assert shown(without) == [0, 0]
    first = told.media[0]
    assert isinstance(first, InspectedImage)
    assert shown(told) == [len(first.tiles), 0]


async def test_the_frames_of_a_clip_are_shown_as_the_tower_gets_them(
    loaded: Load, picture: MakeImage, budget: EngineBudget
) -> None:
    red = replace(picture(40, 40), image=PilImage.new("RGB", (40, 40), (200, 30, 40)), time_s=0.0)
    asked = said(Video((red, picture(40, 40))), "What moves?")
    async with running(loaded("llava_onevision"), budget) as engine:
        (without,) = (await inspected(engine, asked)).media
        (clip,) = (await inspected(engine, asked, with_pixels=True)).media
    assert isinstance(without, InspectedVideo) and isinstance(clip, InspectedVideo)
    assert [frame.pixels for frame in without.frames] == [None, None]
    first, second = (str(frame.pixels) for frame in clip.frames)
    assert first != second
    with PilImage.open(io.BytesIO(base64.b64decode(first.partition(",")[2]))) as shown:
        assert shown.size == clip.tile_size
        seen = shown.getpixel((3, 3))
    assert isinstance(seen, tuple)
    assert max(abs(a - b) for a, b in zip(seen, (200, 30, 40), strict=True)) <= 1


async def test_what_cannot_be_answered_is_refused_as_it_would_be(
    loaded: Load, picture: MakeImage, budget: EngineBudget
) -> None:
    async with running(loaded("llava"), budget) as engine:
        with pytest.raises(MediaNotAccepted):
            await inspected(engine, said(Video((picture(8, 8),)), "What?"))


async def test_a_lost_engine_inspects_nothing(
    loaded: Load, budget: EngineBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(loaded("llava"), budget) as engine:
        monkeypatch.setattr(TorchEngine, "healthy", False)
        with pytest.raises(EngineLost):
            await inspected(engine, said("Hello"))
