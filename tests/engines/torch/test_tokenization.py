"""The tokens told to clients are those that the engine answers, pictures included."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import EngineBudget, choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.errors import BadRequest, InvalidField, TextTooLong
from llava_serve.request import (
    Conversation,
    DetokenizeRequest,
    Image,
    Message,
    ReadyPrompt,
    TokenizeRequest,
    Video,
)
from tests.checkpoints.golden_cases import GOLDEN
from tests.engines.torch.conftest import collect, request
from tests.engines.torch.test_inspection import FAMILIES

Load = Callable[[str], LoadedModel]
MakeImage = Callable[[int, int], Image]


@asynccontextmanager
async def running(loaded: LoadedModel, budget: EngineBudget) -> AsyncIterator[TorchEngine]:
    engine = TorchEngine(loaded, budget)
    try:
        yield engine
    finally:
        engine.close()


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_conversation_has_the_tokens_that_its_answer_reports(
    loaded: Load, budget: EngineBudget, picture: MakeImage, family: str
) -> None:
    image, wide = picture(40, 30), picture(90, 30)
    model = loaded(family)
    clip = (Video((image, wide)),) if model.frames is not None else ()
    async with running(model, budget) as engine:
        for parts in (("What?",), (image, "What?"), (image, "and", wide, "?"), (*clip, "What?")):
            asked = request(*parts, max_new_tokens=1)
            _, last = await collect(engine.stream(asked))
            told = await engine.tokenize(TokenizeRequest(prompt=asked.prompt, with_strings=True))
            assert last.usage is not None and told.token_strs is not None
            assert told.count == len(told.tokens) == last.usage.prompt_tokens
            images = told.tokens.count(model.image_token_id)
            assert images == last.usage.image_tokens
            assert len(told.token_strs) == told.count
            assert told.max_model_len == engine.card.context_length


async def test_a_text_comes_back_as_it_was(loaded: Load, budget: EngineBudget) -> None:
    async with running(loaded("llava_onevision"), budget) as engine:
        asked = TokenizeRequest(prompt=ReadyPrompt("one two €"), adds_special_tokens=False)
        told = await engine.tokenize(asked)
        text = await engine.detokenize(DetokenizeRequest(tuple(told.tokens)))
        assert text.prompt == "one two €"
        with pytest.raises(InvalidField, match="999999"):
            await engine.detokenize(DetokenizeRequest((1, 999_999)))
        with pytest.raises(InvalidField, match="-7"):
            await engine.detokenize(DetokenizeRequest((-7,)))
        with pytest.raises(TextTooLong):
            await engine.tokenize(TokenizeRequest(prompt=ReadyPrompt("word " * 100_000)))


async def test_a_prompt_of_tokens_is_answered_as_their_text_is(
    loaded: Load, budget: EngineBudget
) -> None:
    model = loaded("llava_onevision")
    async with running(model, budget) as engine:
        text = ReadyPrompt("one two", continues=True)
        tokens = (await engine.tokenize(TokenizeRequest(prompt=text))).tokens
        said, last = await collect(engine.stream(request(prompt=text)))
        ready = ReadyPrompt("", continues=True, tokens=tuple(tokens))
        same, ended = await collect(engine.stream(request(prompt=ready)))
        assert (same, ended.usage and ended.usage.prompt_tokens) == (said, len(tokens))
        assert last.usage is not None and last.usage.prompt_tokens == len(tokens)
        context = engine.card.context_length
        for refused, why in (
            ([model.image_token_id], "a text contains"),
            ([999_999], "999999 is no token of this model"),
            ([1] * (context + 1), "cannot fit"),
        ):
            ready = ReadyPrompt("", continues=True, tokens=tuple(refused))
            with pytest.raises(BadRequest, match=why):
                await collect(engine.stream(request(prompt=ready)))


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["A_llava15", "C_onevision", None])
async def test_real_checkpoints_go_there_and_back(picture: MakeImage, folder: str | None) -> None:
    config = ModelConfig(device="cpu")
    if folder is not None:
        path = str(GOLDEN / folder / "checkpoint")
        config = ModelConfig(model_path=path, device="cpu", dtype="float32")
    model = load(config)
    async with running(model, choose_budget(model, slots=1)) as engine:
        prompt = ReadyPrompt("Hello there")
        whole = await engine.tokenize(TokenizeRequest(prompt=prompt))
        bare = await engine.tokenize(TokenizeRequest(prompt=prompt, adds_special_tokens=False))
        assert whole.tokens == PromptTokenizer(model).tokenize(prompt)
        assert whole.tokens[-bare.count :] == bare.tokens
        told = await engine.detokenize(DetokenizeRequest(tuple(bare.tokens)))
        assert told.prompt.split() == ["Hello", "there"]
        conversation = Conversation((Message("user", (picture(50, 40), "What is it?")),))
        shown = await engine.tokenize(TokenizeRequest(prompt=conversation, with_strings=True))
        assert shown.tokens.count(model.image_token_id) > 1
        told = await engine.detokenize(DetokenizeRequest(tuple(shown.tokens)))
        assert "<image><image>" in told.prompt and "What is it?" in told.prompt
