"""A checkpoint of LLaVA's original layout behind SGLang sees what the reference saw."""

import base64
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Tokenizer

from tests.sglang.conftest import Stack, stack_before, text, user
from tests.sglang.launched import sglang

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

CASE = Path(__file__).parents[1] / "checkpoints" / "golden" / "D_interleave"
EMBEDDINGS = "model.embed_tokens.weight"
# SGLang runs every vision tower in half precision, and random weights are next to ties.
FIRST_TOKENS = 6


def prepared(folder: Path) -> Path:
    """Copy the checkpoint and change what the README says SGLang needs changed.

    Its vocabulary ends where the reference's did, but for `<image>`, which is never answered.
    """
    model = folder / "llava-qwen-tiny"
    shutil.copytree(CASE / "checkpoint", model)
    config = json.loads((model / "config.json").read_text())
    tower = CASE / config["mm_vision_tower"]
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    image_token = tokenizer.get_vocab_size()
    tokenizer.add_special_tokens([AddedToken("<image>", special=True)])
    tokenizer.save(str(model / "tokenizer.json"))
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"][str(image_token)] = {"content": "<image>", "special": True}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    shutil.copy(tower / "preprocessor_config.json", model)
    tensors = load_file(model / "model.safetensors")
    tensors[EMBEDDINGS] = np.concatenate(
        [tensors[EMBEDDINGS][:image_token], np.zeros_like(tensors[EMBEDDINGS][:1])]
    )
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    config |= {
        "model_type": "llava",
        "mm_vision_tower": str(tower),
        "image_token_index": image_token,
        "vocab_size": image_token + 1,
        "torch_dtype": "float32",
    }
    (model / "config.json").write_text(json.dumps(config))
    return model


@pytest.fixture(scope="module")
def original_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("original")
    flags = ("--chat-template", "chatml-llava")
    with sglang(prepared(folder), folder / "log", *flags) as address:
        yield address


@pytest.fixture
async def original(original_endpoint: str, tmp_path: Path) -> AsyncIterator[Stack]:
    async with stack_before(original_endpoint, tmp_path) as stack:
        await stack.serves("llava-qwen-tiny")
        yield stack


async def test_one_and_several_pictures_are_seen_as_the_reference_sees_them(
    original: Stack,
) -> None:
    prompts: list[dict[str, Any]] = json.loads((CASE / "case.json").read_text())["prompts"]
    tokenizer = Tokenizer.from_file(str(CASE / "checkpoint" / "tokenizer.json"))
    for prompt in (one for one in prompts if one["mode"] in ("pad", None)):
        images = [
            base64.b64encode((CASE / image).read_bytes()).decode() for image in prompt["images"]
        ]
        answer = json.loads(await original.old_wire(prompt["prompt"], images, "llava-qwen-tiny"))
        assert answer["error_code"] == 0, answer
        begin = tokenizer.decode(prompt["greedy"][:FIRST_TOKENS]).rstrip(
            "\N{REPLACEMENT CHARACTER}"
        )
        said = answer["text"].removeprefix(prompt["prompt"])
        assert said.startswith(begin), prompt["key"]


async def test_a_template_that_closes_the_turn_is_not_gone_on_with(original: Stack) -> None:
    """What the server itself would do: answer behind `<|im_end|>`, without a word."""
    begun = [*user(text("What is it?")), {"role": "assistant", "content": "a red car is"}]
    with pytest.raises(openai.BadRequestError, match="--conv-mode") as refusal:
        await original.complete(messages=begun, extra_body={"continue_final_message": True})
    assert refusal.value.param == "continue_final_message"
