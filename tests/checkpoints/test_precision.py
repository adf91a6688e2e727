from typing import Any

import pytest
import torch

from llava_serve.checkpoints import precision
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError


def choose(stored_dtype: str | None = None, **flags: Any) -> precision.Precision:
    return precision.choose(ModelConfig(**flags), stored_dtype)


def test_on_a_cpu_the_weights_are_float32_whatever_the_checkpoint_says() -> None:
    chosen = choose("bfloat16", device="cpu")
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
