"""An answer that is cut and gone on with is the answer that was not cut."""

from collections.abc import Iterator

import pytest

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.request import (
    Conversation,
    Delta,
    GenerateRequest,
    Image,
    Message,
    ReadyPrompt,
    SamplingParams,
    Usage,
)
from scripts.tiny.world import simple_image
from tests.checkpoints.golden_cases import ALL, GOLDEN, Golden

pytestmark = pytest.mark.slow

SHOWN = Image(simple_image("circle", "red", size=(96, 96)), "red circle")
QUESTION = Message("user", (SHOWN, "Describe the picture."))
CASES = {
    "bundled": None,
    "llava-1.5": "A_llava15",
    "llava-1.6": "B_llava16_mistral",
    "onevision": "C_onevision",
}
NEW_TOKENS = 24


@pytest.fixture(scope="module", params=CASES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    folder = CASES[request.param]
    if folder is None:
        return load(ModelConfig(device="cpu"))
    path = str(GOLDEN / folder / "checkpoint")
    return load(ModelConfig(model_path=path, device="cpu", dtype="float32"))


@pytest.fixture(scope="module")
def engine(loaded: LoadedModel) -> Iterator[TorchEngine]:
    engine = TorchEngine(loaded, choose_budget(loaded, slots=2))
    yield engine
    engine.close()


def begun(*parts: str) -> Conversation:
    return Conversation((QUESTION, Message("assistant", parts))).continued()


async def answer(engine: TorchEngine, prompt: Conversation, limit: int) -> list[Delta]:
    sampling = SamplingParams(temperature=0, max_new_tokens=limit, ignore_eos=True, top_logprobs=0)
    request = GenerateRequest(request_id="req-1", prompt=prompt, sampling=sampling)
    return [delta async for delta in engine.stream(request)]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def usage_of(deltas: list[Delta]) -> Usage:
    assert deltas[-1].usage is not None
    return deltas[-1].usage


async def test_the_rest_is_the_rest_of_the_same_answer(
    loaded: LoadedModel, engine: TorchEngine
) -> None:
    whole = await answer(engine, Conversation((QUESTION,)), NEW_TOKENS)
    compared, text = 0, ""
    for delta in whole[:-1]:
        text += delta.text
        assert delta.so_far is not None
        cut = delta.so_far.completion_tokens
        rest = await answer(engine, begun(text), NEW_TOKENS - cut)
        assert usage_of(rest).completion_tokens == NEW_TOKENS - cut
        if usage_of(rest).prompt_tokens != delta.so_far.prompt_tokens + cut:
            continue  # alone this text is other tokens: the model may go on differently
        compared += 1
        assert text + text_of(rest) == text_of(whole)
    # The answers of random weights are no text that anybody would write.
    assert compared >= 10 or loaded.name != "llava-tiny"


@pytest.mark.parametrize("text", ["The picture shows", "A red", " It is", "1. one\n2.", "日本"])
async def test_there_is_no_seam_between_the_text_and_what_follows(
    loaded: LoadedModel, engine: TorchEngine, text: str
) -> None:
    rest = await answer(engine, begun(text), NEW_TOKENS)
    first = rest[0].logprobs[0].data  # a space that it begins with is part of it
    if first.isascii() and not first.startswith(b"<"):
        assert text_of(rest).startswith(first.decode())
    assert text_of(await answer(engine, begun(text[:2], text[2:]), NEW_TOKENS)) == text_of(rest)


MULTITURN = [golden for golden in ALL if golden.key == "multiturn"]


@pytest.mark.parametrize("golden", MULTITURN, ids=str)
def test_the_tokens_of_llavas_own_code_up_to_the_text_are_the_prompt(golden: Golden) -> None:
    loaded = golden.load()
    begun = Conversation(golden.conversation.messages[:2]).continued()
    ids = [item if isinstance(item, int) else None for item in golden.items]
    prompt = PromptTokenizer(loaded).tokenize(begun)
    assert [item if isinstance(item, int) else None for item in prompt] == ids[: len(prompt)]
    behind = golden.items[len(prompt) : len(prompt) + 2]
    end = [loaded.tokenizer.convert_ids_to_tokens(i) for i in behind if isinstance(i, int)]
    assert loaded.format.stops[0] in end


async def test_a_text_that_is_empty_is_no_beginning(engine: TorchEngine) -> None:
    anew = await answer(engine, Conversation((QUESTION,)), 4)
    assert text_of(await answer(engine, begun(""), 4)) == text_of(anew)


async def test_a_text_that_goes_on_keeps_the_space_of_its_first_word(
    loaded: LoadedModel, engine: TorchEngine
) -> None:
    vocabulary = loaded.tokenizer.get_vocab()
    spaced = next(token for entry, token in vocabulary.items() if entry[0] in "▁Ġ" and entry[1:])
    request = GenerateRequest(
        request_id="req-1",
        prompt=ReadyPrompt("Describe the", continues=True),
        sampling=SamplingParams(temperature=0, max_new_tokens=1, logit_bias=((spaced, 100.0),)),
    )
    assert text_of([delta async for delta in engine.stream(request)]).startswith(" ")
