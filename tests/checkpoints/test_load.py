import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llava_serve.errors import CheckpointError
from tests.checkpoints.changed import change_weights, set_json, write_index, write_shards
from tests.checkpoints.encoded import load_from
from tests.checkpoints.tool_checkpoint import HERMES

Copy = Callable[..., Path]


def test_a_checkpoint_says_what_it_is(onevision: Path) -> None:
    loaded = load_from(onevision)
    card = loaded.card
    assert (card.id, card.context_length, card.engine) == ("tiny-onevision", 512, "torch")
    assert card.accepts_images
    assert card.accepts_video
    assert loaded.model.dtype == torch.float32
    assert loaded.tokenizer.eos_token_id in loaded.stop_ids
    assert loaded.format.name == "the checkpoint's chat template"


def test_nothing_is_written_into_the_folder(onevision: Path) -> None:
    def state() -> dict[str, float]:
        return {path.name: path.stat().st_mtime for path in onevision.iterdir()}

    before = state()
    load_from(onevision)
    assert state() == before


def test_the_served_name_can_be_chosen(onevision: Path) -> None:
    assert load_from(onevision, model_name="mine").card.id == "mine"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_precision_can_be_chosen(onevision: Path, dtype: str) -> None:
    assert load_from(onevision, dtype=dtype).model.dtype == getattr(torch, dtype)


def test_pickled_weights_load_as_tensors_only(copy: Copy) -> None:
    folder = copy()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    loaded = load_from(folder)
    name = "model.multi_modal_projector.linear_1.weight"
    held = loaded.model.state_dict()[name]
    assert any(torch.equal(held, value) for value in weights.values())


def test_pickled_weights_that_hold_code_are_refused(copy: Copy) -> None:
    folder = copy("model.safetensors")
    torch.save({"weight": Path("harmless")}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="needs more than tensors"):
        load_from(folder)


def split(folder: Path, names: dict[str, str] | None = None) -> dict[str, str]:
    """Put the weights into three files without an index, with parts of names changed."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for old, new in (names or {}).items():
        weights = {name.replace(old, new): value for name, value in weights.items()}
    return write_shards(weights, folder, "safetensors", 3)


@pytest.mark.parametrize(
    "names",
    [
        {},
        {
            "language_model.model.": "model.language_model.",
            "language_model.lm_head.": "lm_head.",
            "multi_modal": "model.multi_modal",
            "vision_tower": "model.vision_tower",
            "image_newline": "model.image_newline",
        },
    ],
    ids=["names as they are saved", "names as in memory"],
)
def test_several_files_need_no_index(copy: Copy, onevision: Path, names: dict[str, str]) -> None:
    folder = copy()
    set_json(folder / "generation_config.json", do_sample=True, temperature=0.3)
    split(folder, names)
    loaded, whole = load_from(folder), load_from(onevision)
    require_same(loaded, whole)
    assert loaded.card.sampling.temperature == 0.3
    assert loaded.stop_ids == whole.stop_ids
    assert loaded.model.name_or_path == str(folder)


def test_a_file_that_the_others_names_tell_of_is_missed(copy: Copy) -> None:
    folder = copy()
    split(folder)
    (folder / "model-00002-of-00003.safetensors").unlink()
    message = (
        r"lacks 1 of the 3 weight files that the names of the others count: "
        r"model-00002-of-00003\.safetensors\. Repeat the download"
    )
    with pytest.raises(CheckpointError, match=message):
        load_from(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": 5}, {"weight_map": {"a": 5}}])
def test_what_is_no_index_is_refused(copy: Copy, index: dict[str, Any]) -> None:
    folder = copy()
    split(folder)
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"index\.json has no weight_map .* or delete it"):
        load_from(folder)
    path.unlink()
    assert load_from(folder).card.id == "copy"


def test_an_index_needs_no_metadata(copy: Copy, onevision: Path) -> None:
    folder = copy()
    write_index(folder / "model.safetensors.index.json", split(folder))
    require_same(load_from(folder), load_from(onevision))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_the_index_of_files_that_are_not_there_is_not_followed(
    copy: Copy, onevision: Path, suffix: str
) -> None:
    folder = copy()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    write_shards(weights, folder, suffix, 2)
    other = "pytorch_model.bin" if suffix == "safetensors" else "model.safetensors"
    places = dict.fromkeys(weights, f"{other}-00001-of-00001")
    write_index(folder / f"{other}.index.json", places)
    require_same(load_from(folder), load_from(onevision))


def require_same(loaded: Any, whole: Any) -> None:
    expected, held = whole.model.state_dict(), loaded.model.state_dict()
    assert set(held) == set(expected)
    assert all(torch.equal(held[name], value) for name, value in expected.items())


def test_an_index_that_names_a_missing_file_is_refused(copy: Copy) -> None:
    folder = copy()
    write_index(folder / "model.safetensors.index.json", split(folder))
    (folder / "model-00003-of-00003.safetensors").unlink()
    message = r"lacks 1 of the 3 .*index\.json names: model-00003-of-00003\.safetensors\. Repeat"
    with pytest.raises(CheckpointError, match=message):
        load_from(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: drop(weights, "image_newline"), r"1 are missing: model\.image_newline"),
        (
            lambda weights: weights.update({"model.extra.weight": torch.ones(2)}),
            r"belong to no part of the model: .*extra\.weight",
        ),
        (
            lambda weights: reshape(weights, "linear_1.bias"),
            r"linear_1\.bias is \(3,\), config\.json asks",
        ),
    ],
    ids=["missing", "left over", "of another shape"],
)
def test_weights_that_do_not_fit_are_named(copy: Copy, change: Any, message: str) -> None:
    folder = copy()
    change_weights(folder / "model.safetensors", change)
    with pytest.raises(CheckpointError, match=message):
        load_from(folder)


def test_left_over_buffers_of_old_versions_are_harmless(copy: Copy) -> None:
    folder = copy()
    stale = {"model.vision_tower.embeddings.position_ids": torch.arange(16)}
    change_weights(folder / "model.safetensors", lambda weights: weights.update(stale))
    assert load_from(folder).card.id == "copy"


def drop(weights: dict[str, torch.Tensor], part: str) -> None:
    del weights[next(name for name in weights if part in name)]


def reshape(weights: dict[str, torch.Tensor], part: str) -> None:
    weights[next(name for name in weights if part in name)] = torch.ones(3)


def test_a_broken_weight_file_is_refused(copy: Copy) -> None:
    folder = copy()
    (folder / "model.safetensors").write_bytes(b"not a safetensors file")
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read as weights"):
        load_from(folder)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("tokenizer.json", "has no tokenizer: none of tokenizer.json"),
        ("preprocessor_config.json", "the image processor in"),
    ],
)
def test_a_missing_part_is_named(copy: Copy, missing: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_from(copy(missing))


def test_without_chat_template_the_config_decides(
    copy: Copy, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        loaded = load_from(copy("chat_template.jinja"))
    assert loaded.format.name == "qwen_1_5"
    assert (
        "made with qwen_1_5, which has no tools: the language model is of type 'qwen2'"
        in caplog.text
    )


def test_the_processor_s_chat_template_counts(copy: Copy) -> None:
    folder = copy("chat_template.jinja")
    template = {"chat_template": "{{ messages[0]['content'][0]['text'] }}"}
    (folder / "chat_template.json").write_text(json.dumps(template), encoding="utf-8")
    assert load_from(folder).format.name == "the checkpoint's chat template"


def test_conv_mode_wins_over_the_chat_template(onevision: Path) -> None:
    assert load_from(onevision, "vicuna_v1").format.name == "vicuna_v1"


def test_a_chat_template_that_is_given_wins_over_the_checkpoint_s(
    onevision: Path, tmp_path: Path
) -> None:
    template = tmp_path / "tools.jinja"
    template.write_text(HERMES, encoding="utf-8")
    loaded = load_from(onevision, chat_template=str(template))
    assert loaded.format.reason == "--chat-template asks for it"
    assert "tools" in loaded.card.supported_params
    template.write_text("{% if %}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="--chat-template: line 1"):
        load_from(onevision, chat_template=str(template))
    with pytest.raises(CheckpointError, match=r"nowhere\.jinja cannot be read"):
        load_from(onevision, chat_template=str(tmp_path / "nowhere.jinja"))


def test_an_unknown_conv_mode_is_refused_before_loading(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--conv-mode: no conversation template 'v9'"):
        load_from(tmp_path / "nowhere", "v9")


def test_a_base_for_a_whole_model_is_refused(onevision: Path) -> None:
    with pytest.raises(CheckpointError, match="leave out --model-base"):
        load_from(onevision, model_base=str(onevision))


def test_the_aspect_flag_is_refused_where_it_has_no_effect(onevision: Path) -> None:
    with pytest.raises(CheckpointError, match=r"--image-aspect-ratio has no effect"):
        load_from(onevision, image_aspect_ratio="pad")
