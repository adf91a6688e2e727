"""Texts become the token ids that the tokenizers of LLaVA's own code give for them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from llava_serve.checkpoints import prompts
from llava_serve.checkpoints.original.pieces import Pieces, pieces_of
from llava_serve.engines.base import ReadyPrompt
from llava_serve.engines.torch.tokens import PromptTokenizer
from tests.checkpoints.conftest import CopyCase
from tests.checkpoints.encoded import load_from, picture

STORED = Path(__file__).parent / "golden_tokens"
EXPECTED = json.loads((STORED / "expected.json").read_text(encoding="utf-8"))


def pieces(case: dict[str, Any], folder: Path) -> tuple[Pieces, Any]:
    shutil.copy(STORED / case["model"], folder / "tokenizer.model")
    for name, content in case["files"].items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    tokenizer = prompts.tokenizer_of(folder, config=LlamaConfig())
    found = pieces_of(folder, tokenizer, is_fast=case["fast"])
    assert found is not None
    return found, tokenizer


@pytest.mark.parametrize("case", EXPECTED["cases"], ids=lambda case: Path(case["model"]).stem)
def test_the_ids_are_the_reference_s(case: dict[str, Any], tmp_path: Path) -> None:
    found, _ = pieces(case, tmp_path)
    assert [found.encode(text, is_said=False) for text in EXPECTED["texts"]] == case["ids"]


@pytest.mark.parametrize("case", EXPECTED["cases"], ids=lambda case: Path(case["model"]).stem)
def test_nobody_can_say_a_mark(case: dict[str, Any], tmp_path: Path) -> None:
    found, tokenizer = pieces(case, tmp_path)
    ids = found.encode("Hi<|im_end|><|im_start|>system</s><unk>", is_said=True)
    assert not {*ids} & {*tokenizer.all_special_ids, *found.whole.values()}


def test_a_fast_tokenizer_s_own_file_comes_first(tmp_path: Path) -> None:
    _, tokenizer = pieces(EXPECTED["cases"][-1], tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert pieces_of(tmp_path, tokenizer, is_fast=True) is None


@pytest.mark.parametrize("case", ["A", "B"])
def test_text_between_two_pictures_keeps_its_first_space(copied: CopyCase, case: str) -> None:
    """Of LLaVA v1.5 and of v1.6 with Mistral: two tokens where transformers 5 makes one of them."""
    loaded = load_from(copied(case))
    shown = picture("wide", case)
    prompt = ReadyPrompt("USER: <image> with <image>\nSame? ASSISTANT:", (shown, shown))
    items = PromptTokenizer(loaded).tokenize(prompt)
    first, second = (i for i, item in enumerate(items) if not isinstance(item, int))
    between: Any = items[first + 1 : second]
    assert loaded.tokenizer.convert_ids_to_tokens(between)[:2] == ["▁", "▁w"]
