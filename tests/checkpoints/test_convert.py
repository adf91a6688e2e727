"""What `convert` writes is loaded by transformers alone, and answers the same."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from llava_serve.checkpoints.convert import convert
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.errors import CheckpointError
from llava_serve.request import Image, Video
from tests.checkpoints.encoded import ids_of, load_from
from tests.checkpoints.golden_cases import ALL, PROMPTS, Golden

TOLERANCE = 1e-3
ROUNDED = "round_edge"  # sizes for which transformers keeps one row more or less
# Pictures padded by a model with a newline: transformers' class does that to several pictures of
# one request, whatever the checkpoint says.
OVERRIDDEN = ("C.single_pad", "C.multi_pad")
ASKED = [golden for golden in ALL if golden.key != ROUNDED]


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    done: dict[tuple[str, str, str | None], Path] = {}

    def of(golden: Golden) -> Path:
        aspect = None if str(golden) in OVERRIDDEN else golden.aspect
        key = (golden.case, golden.checkpoint, aspect)
        if key not in done:
            done[key] = tmp_path_factory.mktemp("converted") / "model"
            write(golden, done[key], aspect)
        return done[key]

    return of


def write(golden: Golden, out: Path, aspect: str | None) -> None:
    config = ModelConfig(**golden.flags | {"image_aspect_ratio": aspect})
    convert(config, out)


@pytest.mark.parametrize("golden", [each for each in PROMPTS if each.values[0] in ASKED])
def test_transformers_alone_gives_the_same_logits(golden: Golden, converted: Any) -> None:
    folder = converted(golden)
    model: Any = AutoModelForImageTextToText.from_pretrained(folder)
    image_processor: Any = AutoImageProcessor
    processor = image_processor.from_pretrained(folder, backend="pil")
    inputs = pixels_of(golden, processor, folder)
    token = model.config.video_token_id if golden.is_video else model.config.image_token_id
    ids = expanded(golden, token, rows_of(model, inputs))
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids]), **inputs).logits[0, -1]
    torch.testing.assert_close(logits[: len(golden.logits)], golden.logits, atol=TOLERANCE, rtol=0)
    assert int(logits.argmax()) == golden.greedy[0]


def pixels_of(golden: Golden, processor: Any, folder: Path) -> dict[str, torch.Tensor]:
    if golden.is_video:
        settings = json.loads((folder / "video_preprocessor_config.json").read_text())
        frames = next(item for item in golden.media if isinstance(item, Video)).frames
        square = golden.load().original
        assert square is not None
        assert settings["image_mean"] == [0.5, 0.5, 0.5]
        return {"pixel_values_videos": square.frames([frame.image for frame in frames])[None]}
    images = [item.image for item in golden.media if isinstance(item, Image)]
    if not images:
        return {}
    if str(golden) in OVERRIDDEN:  # one by itself would be tiled
        count = len(images)
        values = dict(processor([images if count > 1 else images * 2], return_tensors="pt"))
        inputs = {name: values[name][:count] for name in ("pixel_values", "image_sizes")}
        return inputs | {"batch_num_images": torch.tensor([2])}
    values = dict(processor(images, return_tensors="pt"))
    return {name: values[name] for name in ("pixel_values", "image_sizes") if name in values}


def rows_of(model: Any, inputs: dict[str, torch.Tensor]) -> list[int]:
    if "pixel_values_videos" in inputs:
        return [model.get_video_features(**inputs).pooler_output.shape[1]]
    if not inputs:
        return []
    return [len(rows) for rows in model.get_image_features(**inputs).pooler_output]


def expanded(golden: Golden, token: int, rows: list[int]) -> list[int]:
    counts = iter(rows)
    ids: list[int] = []
    for token_id in golden.expected("input_ids").tolist():
        ids += [token] * next(counts) if token_id == -200 else [token_id]
    return ids


@pytest.mark.parametrize("case", ["A", "B", "C", "D", "E"])
def test_the_written_folder_loads_here_with_the_same_prompts(case: str, converted: Any) -> None:
    golden = next(
        each
        for each in ASKED
        if each.case.startswith(case) and each.media and str(each) not in OVERRIDDEN
    )
    loaded = load_from(converted(golden))
    items = PromptTokenizer(loaded).tokenize(golden.conversation)
    assert ids_of(items) == golden.expected("input_ids").tolist()
    assert loaded.original is None


def test_the_tokens_of_pictures_are_never_answered(converted: Any) -> None:
    golden = next(each for each in ALL if str(each) == "C.tall")
    folder = converted(golden)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert model.config.image_token_id == tokenizer.convert_tokens_to_ids("<image>")
    assert model.lm_head.weight.shape[0] == len(tokenizer)


@pytest.mark.parametrize("golden", [each for each in ALL if str(each) in OVERRIDDEN][:1], ids=str)
def test_what_transformers_cannot_pack_is_refused(golden: Golden, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="by pad although it has a newline"):
        write(golden, tmp_path / "out", golden.aspect)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(CheckpointError, match="not empty"):
        write(ALL[0], tmp_path, None)
