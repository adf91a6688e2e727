"""Requests that wait, leave or fail harm no other, and leave nothing behind."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

import PIL.Image
import pytest
import torch
from torch import nn

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.budget import EngineBudget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.engines.torch.sequence import Sequence
from llava_serve.errors import (
    ContextOverflow,
    EngineFailure,
    OutOfMemory,
    ShuttingDown,
)
from llava_serve.request import Image
from tests.engines.torch.conftest import CONTEXT, collect, request

MakeImage = Callable[[int, int], Image]


async def test_greedy_answers_repeat_and_do_not_depend_on_company(engine: TorchEngine) -> None:
    alone = [(await collect(engine.stream(request(text))))[0] for text in ("one", "two", "three")]
    together = await asyncio.gather(
        *(collect(engine.stream(request(text))) for text in ("one", "two", "three"))
    )
    assert [text for text, _ in together] == alone


async def test_requests_beyond_the_slots_wait_their_turn(engine: TorchEngine) -> None:
    """Two run for ever; the third gets its first token only after one of them leaves."""
    async with aclosing(engine.stream(request("a", max_new_tokens=None))) as first:
        async with aclosing(engine.stream(request("b", max_new_tokens=None))) as second:
            await anext(first)
            await anext(second)
            waiting = asyncio.create_task(collect(engine.stream(request("c"))))
            await anext(first)
            await anext(second)
            assert not waiting.done()
        _, last = await waiting
    assert last.finish_reason == "length"


async def test_closing_a_stream_frees_its_slot_before_it_returns(engine: TorchEngine) -> None:
    stream = engine.stream(request("a", max_new_tokens=None))
    await anext(stream)
    await stream.aclose()
    assert len(engine._core) == 0


async def test_an_answer_that_is_not_read_keeps_no_sequence(engine: TorchEngine) -> None:
    """Its prompt takes memory: what waits for a slow reader is text."""
    slow = replace(request("a", ignore_eos=True), request_id="slow")
    async with aclosing(engine.stream(slow)) as unread:
        await anext(unread)
        await collect(engine.stream(request("b", ignore_eos=True)))  # ends later
        alive = [each for each in gc.get_objects() if type(each) is Sequence]
        assert "slow" not in {each.request.request_id for each in alive}


async def test_a_waiting_request_can_leave(engine: TorchEngine) -> None:
    async with (
        aclosing(engine.stream(request("a", max_new_tokens=None))) as first,
        aclosing(engine.stream(request("b", max_new_tokens=None))) as second,
    ):
        await anext(first)
        await anext(second)
        waiting = asyncio.create_task(collect(engine.stream(request("c"))))
        await anext(first)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(engine._core) == 2
        await anext(first)
        await anext(second)


async def test_sixty_readers_that_leave_leave_nothing_behind(engine: TorchEngine) -> None:
    async def read(count: int) -> None:
        async with aclosing(engine.stream(request("a", max_new_tokens=30))) as deltas:
            for _ in range(count):
                await anext(deltas)

    await asyncio.gather(*(read(i % 4) for i in range(60)))
    assert len(engine._core) == 0
    _, last = await collect(engine.stream(request("still there?")))
    assert last.finish_reason == "length"


async def test_a_refused_request_harms_no_other(engine: TorchEngine) -> None:
    async with aclosing(engine.stream(request("a", max_new_tokens=None))) as running:
        await anext(running)
        with pytest.raises(ContextOverflow):
            await collect(engine.stream(request("Hello", max_new_tokens=CONTEXT)))
        await anext(running)


class Panic(BaseException):
    """What Rust's code in a tokenizer raises is no `Exception`."""


class Failing(nn.Module):
    """A tower that fails on a white picture the way the device would."""

    def __init__(self, tower: nn.Module, error: BaseException) -> None:
        super().__init__()
        self.tower = tower
        self._error = error

    def forward(self, tiles: torch.Tensor, **options: Any) -> Any:
        if tiles.flatten(1).std(dim=1).min() == 0:
            raise self._error
        return self.tower(tiles, **options)


@contextmanager
def failing_tower(loaded: LoadedModel, error: BaseException) -> Iterator[None]:
    model: Any = loaded.model
    tower = model.model.vision_tower
    model.model.vision_tower = Failing(tower, error)
    yield
    model.model.vision_tower = tower


@pytest.mark.parametrize(
    ("error", "expected", "healthy"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), OutOfMemory, True),
        (RuntimeError("CUDA error: device-side assert triggered"), EngineFailure, False),
        (IndexError("a bug"), EngineFailure, True),
        (Panic("a bug"), EngineFailure, True),
    ],
    ids=["out of memory", "lost device", "bug", "panic"],
)
async def test_a_failure_ends_its_own_request_and_says_what_it_was(
    endless: LoadedModel,
    picture: MakeImage,
    error: BaseException,
    expected: type[EngineFailure],
    healthy: bool,
    budget: EngineBudget,
) -> None:
    engine = TorchEngine(endless, budget)
    white = Image(PIL.Image.new("RGB", (13, 13), "white"), "white")
    with failing_tower(endless, error):
        failed, beside = await asyncio.gather(
            collect(engine.stream(request(white, "What?"))),
            collect(engine.stream(request(picture(13, 13), "What?"))),
            return_exceptions=True,
        )
    assert isinstance(failed, expected)
    assert "a bug" not in failed.message
    assert engine.healthy is healthy
    if healthy:
        assert not isinstance(beside, BaseException)
        await collect(engine.stream(request("Hello")))
    else:
        with pytest.raises(EngineFailure, match="must be restarted"):
            await collect(engine.stream(request("Hello")))
    engine.close()


async def test_a_picture_that_cannot_be_preprocessed_ends_its_own_request(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget
) -> None:
    def process(images: list[PIL.Image.Image]) -> None:
        if images[0].size == (13, 13):
            raise IndexError("a bug")

    engine = TorchEngine(replace(endless, image_processor=Preprocessing(endless, process)), budget)
    with pytest.raises(EngineFailure, match="the cause is in the worker's log"):
        await collect(engine.stream(request(picture(13, 13), "What?")))
    await collect(engine.stream(request("Hello")))
    engine.close()


class Preprocessing:
    """A checkpoint's own, with something that happens before each call."""

    def __init__(
        self, loaded: LoadedModel, happens: Callable[[list[PIL.Image.Image]], None]
    ) -> None:
        self._processor = loaded.image_processor
        self._happens = happens
        self.to_dict = loaded.image_processor.to_dict

    def __call__(self, images: list[PIL.Image.Image], **options: Any) -> Any:
        self._happens(images)
        return self._processor(images, **options)


class Counting(nn.Module):
    """A tower that notes how many tiles it is given at once."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.counts: list[int] = []

    def forward(self, tiles: torch.Tensor, **options: Any) -> Any:
        self.counts.append(len(tiles))
        return self.tower(tiles, **options)


async def test_a_large_picture_goes_through_the_tower_beside_running_answers(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget
) -> None:
    """A few tiles in each step, so that the answers keep moving."""
    engine = TorchEngine(endless, budget)
    alone, _ = await collect(engine.stream(request(picture(90, 31), "What?")))
    engine.close()
    engine = TorchEngine(endless, budget)
    engine._core._tile_budget = 1
    model: Any = endless.model
    counting = model.model.vision_tower = Counting(model.model.vision_tower)
    async with aclosing(engine.stream(request("Hello", max_new_tokens=None))) as running:
        await anext(running)
        beside, _ = await collect(engine.stream(request(picture(90, 31), "What?")))
    engine.close()
    model.model.vision_tower = counting.tower
    assert beside == alone
    assert len(counting.counts) > 1
    assert set(counting.counts) == {1}


async def test_preprocessing_stops_no_answer_and_keeps_its_place_until_it_ends(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def process(images: list[PIL.Image.Image]) -> None:
        if images[0].size == (13, 13):
            begun.set()
            may_end.wait(30)

    engine = TorchEngine(replace(endless, image_processor=Preprocessing(endless, process)), budget)
    leaving = asyncio.create_task(collect(engine.stream(request(picture(13, 13), "What?"))))
    await asyncio.to_thread(begun.wait, 30)
    await collect(engine.stream(request("Hello")))  # is answered meanwhile
    leaving.cancel()
    for _ in range(20):  # turns of the loop, far more than leaving takes
        await asyncio.sleep(0)
    assert not leaving.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    engine.close()


async def test_several_answers_to_one_prompt_preprocess_its_pictures_once(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget
) -> None:
    preprocessed: list[int] = []

    def process(images: list[PIL.Image.Image]) -> None:
        preprocessed.append(len(images))

    engine = TorchEngine(replace(endless, image_processor=Preprocessing(endless, process)), budget)
    asked = request(picture(13, 13), "What?", temperature=1.0)
    preprocessed.clear()  # of the warm-up
    several = [replace(asked, sampling=replace(asked.sampling, seed=seed)) for seed in range(4)]
    await asyncio.gather(*(collect(engine.stream(each)) for each in several))
    engine.close()
    assert preprocessed == [1]


async def test_closing_the_engine_ends_what_is_open(
    endless: LoadedModel, budget: EngineBudget
) -> None:
    engine = TorchEngine(endless, budget)
    stream = engine.stream(request("a", max_new_tokens=None))
    await anext(stream)
    engine.close()
    with pytest.raises(ShuttingDown):
        await collect(stream)
    with pytest.raises(ShuttingDown):
        await collect(engine.stream(request("b")))


async def test_what_the_thread_cannot_survive_ends_every_stream(
    endless: LoadedModel, budget: EngineBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TorchEngine(endless, budget)
    running = engine.stream(request("a", max_new_tokens=None))
    await anext(running)
    monkeypatch.setattr(
        engine._core._scheduler, "_allocator", None
    )  # as a bug in its bookkeeping would
    for stream in (engine.stream(request("b")), running):
        with pytest.raises(EngineFailure, match="must be restarted"):
            await collect(stream)
    assert not engine.healthy
    with pytest.raises(EngineFailure, match="must be restarted"):
        await collect(engine.stream(request("c")))
