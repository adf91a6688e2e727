"""A checkpoint can grow deeper and go on from where it was."""

import pytest
import torch
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from scripts.tiny.checkpoint import deepened, model_config

WORDS = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2, "<image>": 3, "<video>": 4}


def model(layers: int) -> LlavaOnevisionForConditionalGeneration:
    torch.manual_seed(0)
    return LlavaOnevisionForConditionalGeneration(config(layers))


def config(layers: int) -> LlavaOnevisionConfig:
    return model_config(WORDS | {f"word {i}": i for i in range(5, 40)}, layers)


@pytest.mark.parametrize("layers", [4, 5, 6])
def test_a_deeper_copy_computes_the_same_until_it_learns(layers: int) -> None:
    shallow = model(4)
    deeper = deepened(shallow, config(layers))
    ids = torch.randint(5, 40, (2, 20))
    assert len(deeper.model.language_model.layers) == layers
    torch.testing.assert_close(deeper(input_ids=ids).logits, shallow(input_ids=ids).logits)


def test_the_layers_it_gains_learn() -> None:
    deeper = deepened(model(4), config(6))
    ids = torch.randint(5, 40, (2, 20))
    deeper(input_ids=ids, labels=ids).loss.backward()
    gradients = [
        layer.mlp.down_proj.weight.grad.abs().max() for layer in deeper.model.language_model.layers
    ]
    assert min(gradients) > 0
