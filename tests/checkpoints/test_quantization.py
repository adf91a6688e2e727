"""8- and 4-bit weights on a CPU, with bitsandbytes itself."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import EngineBudget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.request import Conversation, Delta, GenerateRequest, Image, Message, SamplingParams
from llava_serve.tiny import CHECKPOINT
from scripts.tiny.exam import draw_exam
from tests.checkpoints.golden_cases import GOLDEN

pytestmark = pytest.mark.slow

LAYERS = {"load_8bit": "Linear8bitLt", "load_4bit": "Linear4bit"}
ORIGINAL = GOLDEN / "B_llava16_mistral" / "checkpoint"
BUDGET = EngineBudget(slots=8, kv_tokens=20_000, feature_bytes=10**7, prefill_budget=256)
KINDS = ("color", "background", "position")
QUESTIONS = 24
LEAST = 0.9  # of the right answers of plain weights


def quantised(folder: Path, flag: str | None, **flags: object) -> LoadedModel:
    asked = {} if flag is None else {flag: True}
    config = ModelConfig(model_path=str(folder), device="cpu", **asked, **flags)  # type: ignore[arg-type]
    return load(config)


@pytest.mark.parametrize("folder", [CHECKPOINT, ORIGINAL], ids=["Hugging Face's", "LLaVA's"])
@pytest.mark.parametrize("flag", LAYERS)
def test_the_language_model_is_quantised_and_the_tower_stays(
    flag: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        loaded = quantised(folder, flag, dtype="bfloat16")
    assert f"language model in {4 if flag == 'load_4bit' else 8} bits" in caplog.text
    modules = dict(loaded.model.named_modules())
    small = {name for name, module in modules.items() if type(module).__name__ == LAYERS[flag]}
    assert {name.split(".")[1] for name in small} == {"language_model"}
    layers = loaded.model.config.get_text_config().num_hidden_layers
    assert len(small) == 7 * layers  # four matrices of attention, three behind it
    for name, parameter in loaded.model.named_parameters():
        if ".language_model." not in name:
            assert parameter.dtype == torch.bfloat16, name
    if flag == "load_4bit":
        weight: Any = loaded.model.get_parameter(f"{min(small)}.weight")
        state = weight.quant_state
        assert state.quant_type == "nf4"
        assert state.nested  # the scales are quantised too


@pytest.mark.parametrize("flag", LAYERS)
def test_a_checkpoint_may_be_saved_quantised(flag: str, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    shutil.copytree(CHECKPOINT, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    saved = quantised(CHECKPOINT, flag).model
    saved.save_pretrained(folder)
    held, expected = quantised(folder, None).model.state_dict(), saved.state_dict()
    assert set(held) == set(expected)
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(held[name]), torch.as_tensor(value)), name


@pytest.mark.parametrize("flag", LAYERS)
async def test_the_checkpoint_that_ships_still_sees(flag: str) -> None:
    """Compared with plain weights."""
    plain, quick = [
        await right(quantised(CHECKPOINT, each), draw(QUESTIONS)) for each in (None, flag)
    ]
    assert plain > QUESTIONS / 2
    assert quick >= LEAST * plain


def draw(count: int) -> list[tuple[Conversation, str]]:
    """Return questions about one picture each, with the right answers."""
    questions = []
    for i, drawn in enumerate(draw_exam(count, seed=1, kinds=KINDS)):
        exchange = drawn.exchanges[-1]
        picture = Image(exchange.shown[0].images[0].image, f"picture {i}")
        asked = Message("user", (picture, exchange.turn.question))
        questions.append((Conversation((asked,)), exchange.turn.answer))
    return questions


async def right(loaded: LoadedModel, questions: Sequence[tuple[Conversation, str]]) -> int:
    """Ask all of them at once; return how many answers are right letter for letter."""
    engine = TorchEngine(loaded, BUDGET)
    sampling = SamplingParams(temperature=0, max_new_tokens=40)

    def asked(prompt: Conversation) -> GenerateRequest:
        return GenerateRequest(request_id="req-1", prompt=prompt, sampling=sampling)

    try:
        answers = await asyncio.gather(
            *(text_of(engine.stream(asked(prompt))) for prompt, _ in questions)
        )
    finally:
        engine.close()
    return sum(answer == wanted for answer, (_, wanted) in zip(answers, questions, strict=True))


async def text_of(stream: AsyncGenerator[Delta]) -> str:
    async with aclosing(stream) as deltas:
        return "".join([delta.text async for delta in deltas])
