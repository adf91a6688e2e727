from pathlib import Path
from typing import Any

import pytest
import torch

from llava_serve.checkpoints import precision
from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from llava_serve.engines.base import Conversation, GenerateRequest, Message, Sampling
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.errors import CheckpointError


def choose(checkpoint: dict[str, Any] | None = None, **flags: Any) -> precision.Precision:
    return precision.choose(ModelConfig(**flags), checkpoint or {})


def test_on_a_cpu_the_weights_are_float32_whatever_the_checkpoint_says() -> None:
    chosen = choose({"dtype": "bfloat16"}, device="cpu")
    assert (chosen.device.type, chosen.dtype) == ("cpu", torch.float32)


def test_a_dtype_that_is_asked_for_is_taken() -> None:
    assert choose(device="cpu", dtype="bfloat16").dtype == torch.bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(CheckpointError, match=r"--device cuda: .* finds no such device here, only"):
        choose(device="cuda")


def test_flash_attention_on_a_cpu_is_refused() -> None:
    with pytest.raises(CheckpointError, match="--use-flash-attn: the model runs on cpu"):
        choose(device="cpu", use_flash_attn=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "layer", "words"),
    [
        ("load_8bit", "Linear8bitLt", "language model in 8 bits"),
        ("load_4bit", "Linear4bit", "language model in 4 bits"),
    ],
)
async def test_only_the_language_model_is_quantised_and_it_answers(
    onevision: Path, flag: str, layer: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        loaded = load(ModelConfig(model_path=str(onevision), device="cpu", **{flag: True}))  # type: ignore[arg-type]
    assert words in caplog.text
    quantised = {
        name.split(".")[1]
        for name, module in loaded.model.named_modules()
        if type(module).__name__ == layer
    }
    assert quantised == {"language_model"}
    engine = TorchEngine(loaded, choose_budget(loaded, slots=1))
    request = GenerateRequest(
        request_id="req-1",
        prompt=Conversation((Message("user", ("Hello",)),)),
        sampling=Sampling(temperature=0, max_new_tokens=4),
    )
    deltas = [delta async for delta in engine.stream(request)]
    engine.close()
    assert deltas[-1].finish_reason is not None
