"""The checkpoint that ships goes through the same path as any other."""

from collections.abc import Callable

import pytest
import torch

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.engines.torch.vision import ImageFeatureCache, merge_image_features
from llava_serve.request import Conversation, GenerateRequest, Image, Message, SamplingParams

pytestmark = pytest.mark.slow

NEW_TOKENS = 24
SIZES = [(96, 96), (400, 200), (200, 500), (800, 600)]


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return load(ModelConfig(device="cpu"))


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_greedy_answer_is_that_of_transformers(
    bundled: LoadedModel, picture: Callable[[int, int], Image], size: tuple[int, int]
) -> None:
    shown = picture(*size)
    conversation = Conversation((Message("user", (shown, "Describe the picture.")),))
    tokens = merge_image_features(
        bundled,
        PromptTokenizer(bundled).tokenize(conversation),
        ImageFeatureCache(bundled, 0).encode([shown]),
    ).tokens
    inputs = bundled.image_processor([[shown.image]], return_tensors="pt")
    bundled.model.model.language_model.set_attn_implementation("sdpa")
    generated = bundled.model.generate(  # type: ignore[operator]
        input_ids=torch.tensor([tokens]), **inputs, do_sample=False, max_new_tokens=NEW_TOKENS
    )
    expected = bundled.tokenizer.decode(generated[0, len(tokens) :], skip_special_tokens=True)

    engine = TorchEngine(bundled, choose_budget(bundled, slots=2))
    request = GenerateRequest(
        request_id="req-1",
        prompt=conversation,
        sampling=SamplingParams(temperature=0, max_new_tokens=NEW_TOKENS),
    )
    answer = "".join([delta.text async for delta in engine.stream(request)])
    engine.close()
    assert answer == expected


def test_its_card_promises_pictures_and_video(bundled: LoadedModel) -> None:
    card = bundled.card
    assert (card.id, card.accepts_images, card.accepts_video) == ("llava-tiny", True, True)
