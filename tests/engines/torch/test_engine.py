import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

import PIL.Image
import pytest
import torch
from torch import nn
from transformers.convert_slow_tokenizer import bytes_to_unicode

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.attention import AttentionSegment
from llava_serve.engines.torch.budget import EngineBudget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.engines.torch.model_runner import ModelRunner
from llava_serve.engines.torch.prompt import PromptTokenizer
from llava_serve.engines.torch.sequence import Sequence
from llava_serve.errors import (
    CommandError,
    ContextOverflow,
    EngineFailure,
    MediaNotAccepted,
    OutOfMemory,
    ShuttingDown,
)
from llava_serve.request import (
    Conversation,
    Delta,
    GenerateRequest,
    Image,
    Message,
    ReadyPrompt,
    SamplingParams,
    Video,
)

Load = Callable[[str], LoadedModel]
MakeImage = Callable[[int, int], Image]

CONTEXT = 512  # of the random models
_LETTERS = bytes_to_unicode()  # type: ignore[no-untyped-call]


@pytest.fixture
def endless(loaded: Load) -> LoadedModel:
    """A model whose answers no token ends, so that only limits and readers do."""
    return replace(loaded("llava_onevision"), stop_ids=frozenset())


@pytest.fixture
def engine(endless: LoadedModel, budget: EngineBudget) -> Iterator[TorchEngine]:
    engine = TorchEngine(endless, budget)
    yield engine
    engine.close()


def request(
    *parts: str | Image | Video, prompt: ReadyPrompt | None = None, **sampling: Any
) -> GenerateRequest:
    return GenerateRequest(
        request_id="req-1",
        prompt=prompt or Conversation((Message("user", parts),)),
        sampling=SamplingParams(**{"temperature": 0, "max_new_tokens": 8} | sampling),
    )


async def collect(stream: AsyncGenerator[Delta]) -> tuple[str, Delta]:
    deltas = [delta async for delta in stream]
    assert all(delta.finish_reason is None and delta.usage is None for delta in deltas[:-1])
    return "".join(delta.text for delta in deltas), deltas[-1]


async def test_an_answer_ends_with_reason_and_usage(
    engine: TorchEngine, picture: MakeImage
) -> None:
    _, last = await collect(engine.stream(request(picture(64, 64), "What?")))
    assert last.finish_reason == "length"
    assert last.usage is not None
    assert last.usage.completion_tokens == 8
    assert 0 < last.usage.image_tokens < last.usage.prompt_tokens


async def test_each_delta_tells_the_usage_so_far(engine: TorchEngine) -> None:
    deltas = [delta async for delta in engine.stream(request("Hello"))]
    counts = [delta.so_far.completion_tokens for delta in deltas if delta.so_far]
    assert counts == sorted(set(counts))
    assert len(counts) == len(deltas) - 1


async def test_the_end_token_is_a_stop(loaded: Load, budget: EngineBudget) -> None:
    everything = replace(loaded("llava_onevision"), stop_ids=frozenset(range(300)))
    engine = TorchEngine(everything, budget)
    text, last = await collect(engine.stream(request("Hello")))
    engine.close()
    assert (text, last.finish_reason) == ("", "stop")


async def test_greedy_answers_repeat_and_do_not_depend_on_company(engine: TorchEngine) -> None:
    alone = [(await collect(engine.stream(request(text))))[0] for text in ("one", "two", "three")]
    together = await asyncio.gather(
        *(collect(engine.stream(request(text))) for text in ("one", "two", "three"))
    )
    assert [text for text, _ in together] == alone


async def test_a_seed_repeats_an_answer(engine: TorchEngine) -> None:
    def sampled(seed: int) -> AsyncGenerator[Delta]:
        return engine.stream(request("Hello", temperature=1.5, seed=seed, max_new_tokens=20))

    first, again, other = [(await collect(sampled(seed)))[0] for seed in (5, 5, 6)]
    assert first == again != other


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


async def test_what_does_not_fit_the_context_is_refused_with_the_numbers(
    engine: TorchEngine,
) -> None:
    _, last = await collect(engine.stream(request("Hello", max_new_tokens=1)))
    assert last.usage is not None
    prompt = last.usage.prompt_tokens
    left = CONTEXT - prompt
    with pytest.raises(ContextOverflow, match=f"has {prompt} tokens and {left + 1} are asked"):
        await collect(engine.stream(request("Hello", max_new_tokens=left + 1)))
    with pytest.raises(ContextOverflow, match=f"the context holds {CONTEXT}"):
        await collect(engine.stream(request("long " * 200, max_new_tokens=None)))


async def test_without_a_limit_the_context_is_the_limit(engine: TorchEngine) -> None:
    _, last = await collect(engine.stream(request("long " * 90, max_new_tokens=None)))
    assert last.usage is not None
    assert last.usage.prompt_tokens + last.usage.completion_tokens == CONTEXT
    assert last.finish_reason == "length"


async def test_a_model_without_video_refuses_a_clip(
    loaded: Load, picture: MakeImage, budget: EngineBudget
) -> None:
    engine = TorchEngine(loaded("llava"), budget)
    with pytest.raises(MediaNotAccepted, match="does not take video"):
        await collect(engine.stream(request(Video((picture(8, 8),)), "What?")))
    engine.close()


async def test_a_ready_prompt_is_answered(engine: TorchEngine, picture: MakeImage) -> None:
    prompt = ReadyPrompt("USER: <image>\nWhat? ASSISTANT:", (picture(64, 64),))
    _, last = await collect(engine.stream(request(prompt=prompt)))
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
    def process(images: list[PIL.Image.Image], **options: Any) -> Any:
        if images[0].size == (13, 13):
            raise IndexError("a bug")
        return endless.image_processor(images, **options)

    engine = TorchEngine(replace(endless, image_processor=process), budget)
    with pytest.raises(EngineFailure, match="the cause is in the worker's log"):
        await collect(engine.stream(request(picture(13, 13), "What?")))
    await collect(engine.stream(request("Hello")))
    engine.close()


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

    def process(images: list[PIL.Image.Image], **options: Any) -> Any:
        if images[0].size == (13, 13):
            begun.set()
            may_end.wait(30)
        return endless.image_processor(images, **options)

    engine = TorchEngine(replace(endless, image_processor=process), budget)
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

    def process(images: list[PIL.Image.Image], **options: Any) -> Any:
        preprocessed.append(len(images))
        return endless.image_processor(images, **options)

    engine = TorchEngine(replace(endless, image_processor=process), budget)
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


async def test_an_answer_can_be_made_to_last(loaded: Load, budget: EngineBudget) -> None:
    """Every token would end the answer: it may not before its time, or never."""
    everything = replace(loaded("llava_onevision"), stop_ids=frozenset(range(0, 300, 2)))
    engine = TorchEngine(everything, budget)
    _, last = await collect(engine.stream(request("Hello", max_new_tokens=8)))
    _, later = await collect(engine.stream(request("Hello", min_new_tokens=5, max_new_tokens=50)))
    _, never = await collect(engine.stream(request("Hello", ignore_eos=True, max_new_tokens=50)))
    engine.close()
    counts = [each.usage.completion_tokens for each in (last, later, never) if each.usage]
    assert counts[0] <= 5 < counts[1]
    assert (counts[2], never.finish_reason) == (50, "length")


async def test_log_probabilities_are_the_models_own(
    endless: LoadedModel, budget: EngineBudget
) -> None:
    """They are told of every token, in order, whatever temperature and penalties make of them."""
    engine = TorchEngine(endless, budget)
    asked = request("Hello", top_logprobs=3, temperature=0.7, seed=1, repetition_penalty=1.3)
    deltas = [delta async for delta in engine.stream(asked)]
    engine.close()
    told = [token for delta in deltas for token in delta.logprobs]
    text = "".join(delta.text for delta in deltas)
    assert b"".join(token.data for token in told).decode(errors="replace") == text
    items = PromptTokenizer(endless).tokenize(asked.prompt)
    letters = endless.tokenizer.get_vocab()
    said = [letters[_LETTERS[byte]] for token in told for byte in token.data]
    runner = ModelRunner(endless.model, kv_tokens=200)
    for i, (token, chosen) in enumerate(zip(told, said, strict=True)):
        read = runner.embed([*(item for item in items if isinstance(item, int)), *said[:i]])
        row = runner.forward(read, [AttentionSegment(0, len(read), 0, 0)])[0].log_softmax(-1)
        assert token.logprob == pytest.approx(float(row[chosen]), abs=1e-4)
        best = [other.logprob for other in token.top]
        assert best == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)


async def test_what_a_stop_cuts_off_has_no_log_probabilities(
    endless: LoadedModel, budget: EngineBudget
) -> None:
    engine = TorchEngine(endless, budget)
    whole, _ = await collect(engine.stream(request("Hello")))
    stopped = engine.stream(request("Hello", stop=(whole[3:5],), top_logprobs=0))
    deltas = [delta async for delta in stopped]
    engine.close()
    told = [token for delta in deltas for token in delta.logprobs]
    said = whole[: whole.index(whole[3:5])]
    assert "".join(delta.text for delta in deltas) == said
    assert b"".join(token.data for token in told).decode(errors="replace") == said
    assert not any(token.top for token in told)


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


@pytest.mark.parametrize("tokens", [1, 20, 10**15])
def test_a_cache_too_small_for_a_picture_is_refused_at_the_start(
    endless: LoadedModel, budget: EngineBudget, tokens: int
) -> None:
    with pytest.raises(CommandError, match=f"a KV cache of {tokens} tokens cannot be used"):
        TorchEngine(endless, replace(budget, kv_tokens=tokens))


async def test_the_card_says_the_context_that_is_served(
    endless: LoadedModel, budget: EngineBudget
) -> None:
    engine = TorchEngine(endless, replace(budget, kv_tokens=300))
    assert engine.card.context_length == 300
    with pytest.raises(ContextOverflow, match="the context holds 300"):
        await collect(engine.stream(request("Hello", max_new_tokens=300)))
    engine.close()
