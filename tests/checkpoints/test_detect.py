import json
from pathlib import Path
from typing import Any

import pytest

from llava_serve.checkpoints.detect import detect, weight_files
from llava_serve.errors import CheckpointError


def folder(tmp_path: Path, **files: Any) -> Path:
    """Write files named like `config_json`; dicts become JSON."""
    for name, content in files.items():
        text = json.dumps(content) if isinstance(content, dict) else content
        stem, _, suffix = name.rpartition("_")
        (tmp_path / f"{stem}.{suffix}").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("files", "layout"),
    [
        ({"config_json": {"model_type": "llava", "text_config": {}}}, "hf"),
        ({"config_json": {"model_type": "llava_onevision", "text_config": {}}}, "hf"),
        ({"config_json": {"model_type": "llava_qwen", "mm_vision_tower": "x"}}, "original"),
        ({"config_json": {"model_type": "llava", "mm_vision_tower": "x"}}, "original"),
        ({"adapter_config_json": {"peft_type": "LORA"}}, "adapter"),
        ({"adapter_config_json": {}, "non_lora_trainables_bin": "x"}, "original"),
    ],
)
def test_the_layout_follows_from_the_files(
    tmp_path: Path, files: dict[str, Any], layout: str
) -> None:
    assert detect(folder(tmp_path, **files)).layout == layout


def test_the_reason_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        detect(folder(tmp_path, config_json={"model_type": "llava", "text_config": {}}))
    assert "has the hf layout: config.json has model_type 'llava'" in caplog.text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({}, r"no config\.json \(it holds nothing\)", id="an empty folder"),
        pytest.param({"notes_txt": "x"}, r"it holds notes\.txt", id="something else"),
        pytest.param({"config_json": "{"}, r"cannot be read as JSON", id="broken JSON"),
        pytest.param({"config_json": "[]"}, r"not an object", id="a list"),
        pytest.param(
            {"config_json": {"model_type": "bert", "architectures": ["BertModel"]}},
            r"not a LLaVA model: its config\.json says model_type 'bert' \(BertModel\)",
            id="another model",
        ),
        pytest.param(
            {
                "config_json": {"model_type": "llava", "text_config": {}},
                "model_safetensors": "version https://git-lfs.github.com/spec/v1\noid sha256:0",
            },
            r"model\.safetensors is a git-LFS pointer.*git lfs pull",
            id="a git-LFS pointer",
        ),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        detect(folder(tmp_path, **files))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    found = detect(folder(tmp_path, config_json={"model_type": "llava", "text_config": {}}))
    with pytest.raises(CheckpointError, match="has no weights"):
        weight_files(found.folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shards = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    config = {"model_type": "llava", "text_config": {}}
    found = detect(folder(tmp_path, config_json=config, **{"model-1_safetensors": "x"}))
    with pytest.raises(CheckpointError, match=r"lacks 1 of the 2 .* names: model-2\.safetensors"):
        weight_files(found.folder)


@pytest.mark.parametrize(
    "numbers", [("00000-of-00002", "00001-of-00002"), ("00001-of-2", "00002-of-2"), ("1-of-1",)]
)
def test_files_may_count_as_they_like(tmp_path: Path, numbers: tuple[str, ...]) -> None:
    paths = [tmp_path / f"model-{number}.safetensors" for number in numbers]
    for path in paths:
        path.write_text("x", encoding="utf-8")
    assert weight_files(tmp_path) == paths


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (["00001-of-2"], "1 of the 2 .* count: model-00002-of-2"),
        (["00000-of-00003", "00002-of-00003"], "1 of the 3 .* count: model-00001-of-00003"),
        (["00000-of-00002"], "1 of the 2 .* count: model-00001-of-00002"),
        (["00003-of-00003"], "2 of the 3 .* count: model-00001-of-00003.*, model-00002-of-00003"),
    ],
)
def test_a_file_is_missed_however_they_count(
    tmp_path: Path, there: list[str], missing: str
) -> None:
    for number in there:
        (tmp_path / f"model-{number}.safetensors").write_text("x", encoding="utf-8")
    with pytest.raises(CheckpointError, match=rf"lacks {missing}\.safetensors\. Repeat"):
        weight_files(tmp_path)


def test_the_index_of_weights_that_are_not_loaded_asks_for_nothing(tmp_path: Path) -> None:
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "pytorch_model-1.bin"}}), encoding="utf-8")
    config = {"model_type": "llava", "text_config": {}}
    weight_files(detect(folder(tmp_path, config_json=config, model_safetensors="x")).folder)
