from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest
from transformers.convert_slow_tokenizer import bytes_to_unicode

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.attention import AttentionSegment
from llava_serve.engines.torch.budget import EngineBudget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.engines.torch.model_runner import ModelRunner
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.errors import CommandError, ContextOverflow, MediaNotAccepted
from llava_serve.request import Delta, Image, ReadyPrompt, Video
from tests.engines.torch.conftest import CONTEXT, collect, request

Load = Callable[[str], LoadedModel]
MakeImage = Callable[[int, int], Image]

_LETTERS = bytes_to_unicode()  # type: ignore[no-untyped-call]


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


async def test_a_seed_repeats_an_answer(engine: TorchEngine) -> None:
    def sampled(seed: int) -> AsyncGenerator[Delta]:
        return engine.stream(request("Hello", temperature=1.5, seed=seed, max_new_tokens=20))

    first, again, other = [(await collect(sampled(seed)))[0] for seed in (5, 5, 6)]
    assert first == again != other


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
