"""A value that cannot be used is refused with its file, its key, what it is and what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CheckpointError
from tests.checkpoints.changed import set_json
from tests.checkpoints.conftest import CopyCase
from tests.checkpoints.encoded import load_from

REMEDY = "Correct it there, or download that file again"

# What is wrong in LLaVA's config.json: a wrong value is corrected there, and the rest otherwise.
WRONG: list[tuple[str, Any, str]] = [
    ("hidden_size", "many", r"says hidden_size 'many', which must be a whole number above 0"),
    ("hidden_size", 7, r"hidden size \(7\) is not a multiple of the number of attention heads"),
    ("num_hidden_layers", 2.5, r"says num_hidden_layers 2\.5, which must be a whole"),
    ("num_attention_heads", 0, "says num_attention_heads 0, which must be a whole number above"),
    ("num_key_value_heads", 0, "says num_key_value_heads 0"),
    ("hidden_act", "many", "says hidden_act 'many', which must be the name of an activation"),
    ("rms_norm_eps", "small", r"config\.json cannot be used: .*'rms_norm_eps' expected float"),
    ("rope_theta", "many", "says rope_theta 'many', which must be a number above 0"),
    ("rope_scaling", "linear", "says rope_scaling 'linear', which must be an object"),
    ("rope_scaling", {"type": "new", "factor": 2}, "with a type that transformers knows"),
    ("rope_scaling", {"type": "linear", "factor": "2"}, "and its numbers"),
    ("rope_scaling", {"factor": 2.0}, r"says rope_scaling {'factor': 2\.0}"),
    ("vocab_size", "many", "says vocab_size 'many'"),
    ("max_position_embeddings", -1, "says max_position_embeddings -1"),
    ("tokenizer_model_max_length", "long", "says tokenizer_model_max_length 'long'"),
    ("architectures", 7, "says architectures 7, which must be a list of names"),
    ("text_config", "x", "says text_config 'x', which must be an object"),
    ("mm_vision_tower", 7, "says mm_vision_tower 7, which must be text"),
    ("mm_vision_select_layer", "last", "says mm_vision_select_layer 'last', which must be a whole"),
    ("mm_vision_select_layer", -7, r"says mm_vision_select_layer -7, and .* has 4 layers: from -5"),
    ("mm_use_im_start_end", "false", "says mm_use_im_start_end 'false', which must be true or"),
    ("image_grid_pinpoints", "banana", "says image_grid_pinpoints 'banana', which must be a list"),
    ("image_grid_pinpoints", "((1", r"says image_grid_pinpoints '\(\(1', which must be a list"),
    ("image_grid_pinpoints", "(axb)", "range of tiles such as"),
    ("image_grid_pinpoints", [112, 224], r"says image_grid_pinpoints \[112, 224\], which"),
    ("image_grid_pinpoints", [[112, 224, 3]], "which must be a list of .width, height"),
    ("image_grid_pinpoints", [[0, 0]], "which must be a list of .width, height"),
    ("image_grid_pinpoints", [[100, 100]], "each a multiple of 112, a side of one tile"),
    ("image_grid_pinpoints", {"a": 1}, "which must be a list of .width, height"),
]
ORIGINAL: list[tuple[str, Any, str, str]] = [
    *((*row, REMEDY) for row in WRONG),
    ("hidden_size", None, "has no hidden_size", "Add what the model was trained with"),
    ("mm_vision_tower", None, "has no mm_vision_tower", "Add what the model was trained with"),
    (
        "mm_hidden_size",
        1024,
        r"says mm_hidden_size 1024, and the vision tower \S+ gives 32",
        "Correct mm_vision_tower, or put the tower that the model was trained with",
    ),
    ("mm_patch_merge_type", "a", "says mm_patch_merge_type 'a'", "known: flat, spatial"),
    ("mm_newline_position", "a", "says mm_newline_position 'a'", "known: one_token, no_token"),
    ("mm_spatial_pool_mode", "a", "says mm_spatial_pool_mode 'a'", "known: bilinear, average, max"),
    ("mm_vision_select_feature", "a", "says mm_vision_select_feature 'a'", "known: patch"),
    ("mm_vision_tower", "a/b/c", "needs the vision tower a/b/c", "or correct mm_vision_tower in"),
    ("image_grid_pinpoints", None, "has no image_grid_pinpoints", "which anyres needs"),
]
HUGGINGFACE: list[tuple[tuple[str, ...], Any, str]] = [
    (("text_config",), "x", "says text_config 'x', which must be an object"),
    (("text_config", "hidden_size"), "many", r"says text_config\.hidden_size 'many'"),
    (("text_config", "num_attention_heads"), 0, r"says text_config\.num_attention_heads 0"),
    (("vision_config", "hidden_size"), None, "cannot be used: .*'hidden_size' expected int"),
    (("vision_config", "hidden_act"), "many", r"says vision_config\.hidden_act 'many'"),
    (("image_grid_pinpoints",), [1], r"says image_grid_pinpoints \[1\], which must be a list of"),
    (("image_token_index",), "x", "says image_token_index 'x', which must be a whole number"),
    (("vision_feature_layer",), "last", "cannot be used: .*vision_feature_layer"),
]
FILES = {
    "generation_config.json": [
        ("{", "cannot be read as JSON: .* Correct it, or download it again"),
        ("[]", "is JSON, but not an object. Correct it, or download it again"),
        ('{"eos_token_id": "x"}', "says eos_token_id 'x', which must be the number of a token"),
        (
            '{"do_sample": true, "temperature": "hot"}',
            "says temperature 'hot', which must be a num",
        ),
        ('{"max_new_tokens": -3}', "says max_new_tokens -3"),
    ],
    "tokenizer_config.json": [
        ("[]", "is JSON, but not an object"),
        ('{"added_tokens_decoder": null}', "has no added_tokens_decoder. Add what"),
        (
            '{"added_tokens_decoder": []}',
            r"says added_tokens_decoder \[\], which must be an object",
        ),
        ('{"added_tokens_decoder": {"0": 5}}', "must be an object of objects, each with a text"),
        ('{"tokenizer_class": 7}', "says tokenizer_class 7, which must be text"),
        ('{"additional_special_tokens": 5}', "says additional_special_tokens 5, which must be a"),
        ('{"bos_token": {"text": "a"}}', "which must be text, or an object with it as content"),
    ],
    "preprocessor_config.json": [
        ("[]", "is JSON, but not an object"),
        ('{"image_mean": "x"}', "says image_mean 'x', which must be three numbers"),
        ('{"size": "x"}', "says size 'x', which must be a number of pixels, or an object of such"),
        ('{"size": {"height": -1}}', "says size {'height': -1}"),
        ('{"resample": "x"}', "says resample 'x', which must be the number of one of Pillow's"),
    ],
}


@pytest.mark.parametrize(("key", "value", "message", "remedy"), ORIGINAL)
def test_llava_s_own_config(
    copied: CopyCase, key: str, value: Any, message: str, remedy: str
) -> None:
    folder = copied("B" if key == "image_grid_pinpoints" else "A", **{key: value})
    with pytest.raises(CheckpointError, match=message) as raised:
        load_from(folder)
    assert str(folder / "config.json") in raised.value.message
    assert remedy in raised.value.message


@pytest.mark.parametrize("key", ["mm_projector_type", "mm_patch_merge_type"])
def test_an_adapter_s_own_config_is_named_and_not_its_base_s(copied: CopyCase, key: str) -> None:
    folder = copied("E", "llava-v1.5-tiny-lora", **{key: "a"})
    with pytest.raises(CheckpointError, match=f"says {key} 'a'") as raised:
        load_from(folder, model_base=str(folder.parent / "vicuna-base"))
    assert raised.value.message.startswith(str(folder / "config.json"))


@pytest.mark.parametrize(("keys", "value", "message"), HUGGINGFACE)
def test_hugging_face_s_config(
    copy: Callable[..., Path], keys: tuple[str, ...], value: Any, message: str
) -> None:
    path = copy() / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    part = config[keys[0]] if len(keys) > 1 else config
    part[keys[-1]] = value
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message) as raised:
        load_from(path.parent)
    assert str(path) in raised.value.message
    assert REMEDY in raised.value.message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [(name, text, message) for name, cases in FILES.items() for text, message in cases],
)
@pytest.mark.parametrize("layout", ["LLaVA's", "Hugging Face's"])
def test_the_files_beside_it(
    copy: Callable[..., Path], copied: CopyCase, layout: str, name: str, text: str, message: str
) -> None:
    folder = copied("A") if layout == "LLaVA's" else copy()
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message) as raised:
        load_from(folder)
    assert raised.value.message.startswith(str(folder / name))


def test_a_vision_tower_s_own_config(copied: CopyCase) -> None:
    folder = copied("A")
    path = next((folder.parent / "openai").iterdir()) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["vision_config"]["patch_size"] = "small"
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match="says patch_size 'small'") as raised:
        load_from(folder)
    assert raised.value.message.startswith(str(path))


def test_a_picture_needs_its_token(copy: Callable[..., Path]) -> None:
    folder = copy()
    set_json(folder / "config.json", image_token_id=None)
    with pytest.raises(CheckpointError, match=r"config\.json has no image_token_id\. Add what"):
        load_from(folder)
