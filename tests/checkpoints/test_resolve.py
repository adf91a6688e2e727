"""A load, an inspection and a conversion look each path up once, on the hub and in its folder."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_serve.checkpoints.convert import convert
from llava_serve.checkpoints.inspection import inspect
from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.resolve import HuggingFaceCheckpoint, OriginalCheckpoint, resolve
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError
from llava_serve.tiny import CHECKPOINT, ONE_WORD
from tests.checkpoints.golden_cases import GOLDEN

E = GOLDEN / "E_lora_and_projector"
PUBLISHED = {
    "somebody/llava-lora": E / "llava-v1.5-tiny-lora",
    "somebody/llava-projector": E / "llava-v1.5-tiny-pretrain",
    "somebody/vicuna-base": E / "vicuna-base",
    "somebody/llava-tiny": CHECKPOINT,
    "somebody/llava-tiny-one-word": ONE_WORD,
}
# The path, its base, and the layouts that are told: a language model is none of LLaVA's.
HUGGING_FACE = ("somebody/llava-tiny-one-word", "somebody/llava-tiny", ["adapter", "hf"])
LORA = ("somebody/llava-lora", "somebody/vicuna-base", ["original"])
PROJECTOR = ("somebody/llava-projector", "somebody/vicuna-base", ["original"])

Use = Callable[[str, str, Path], object]


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's cache on a machine without network, where each look-up is logged."""
    for name, folder in PUBLISHED.items():
        place = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (place / "snapshots").mkdir(parents=True)
        (place / "snapshots" / "1").symlink_to(folder)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("1", encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def loaded(path: str, base: str, _: Path) -> None:
    load(ModelConfig(model_path=path, model_base=base, device="cpu"))


def inspected(path: str, base: str, _: Path) -> None:
    list(inspect(resolve(path, base), None, None, [(336, 336)]).lines(slots=1))


def converted(path: str, base: str, out: Path) -> None:
    convert(ModelConfig(model_path=path, model_base=base), out)


@pytest.mark.parametrize(
    ("use", "paths"),
    [
        pytest.param(use, paths, id=f"{use.__name__} {paths[0]}")
        for use in (loaded, inspected, converted)
        for paths in (HUGGING_FACE, LORA, PROJECTOR)
        if use is not converted or paths is not HUGGING_FACE
    ],
)
def test_each_path_is_looked_up_once(
    use: Use,
    paths: tuple[str, str, list[str]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, base, layouts = paths
    with caplog.at_level(logging.INFO):
        use(path, base, tmp_path / "out")
    lines = [record.getMessage() for record in caplog.records]
    looked_up = [line.split()[-4] for line in lines if line.endswith("in its cache")]
    told = [line.split(" has the ")[1].split()[0] for line in lines if " layout: " in line]
    assert looked_up == [path, base]
    assert told == layouts


def test_an_adapter_is_of_its_base_s_layout() -> None:
    huggingface = resolve(*HUGGING_FACE[:2])
    assert isinstance(huggingface, HuggingFaceCheckpoint)
    assert (huggingface.folder.resolve(), huggingface.model_type) == (CHECKPOINT, "llava_onevision")
    original = resolve(*LORA[:2])
    assert isinstance(original, OriginalCheckpoint)
    assert (original.part, original.config.mm_hidden_size) == ("lora", 32)


def test_a_base_is_no_adapter_itself() -> None:
    with pytest.raises(CheckpointError, match="is an adapter itself, not a model"):
        resolve(str(ONE_WORD), str(ONE_WORD))
