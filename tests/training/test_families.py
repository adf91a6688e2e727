"""Every family's class of transformers takes the batches, and reads in them what serving reads."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.training.check import SampleMeter, check
from llava_serve.training.labels import AnswerLabeller
from llava_serve.training.media_files import MediaFiles
from scripts import random_checkpoint
from tests.training.conftest import WriteData, entry
from tests.training.test_batches import (
    TOLERANCE,
    assert_padding_changes_nothing,
    by_serving,
    dataset,
    run,
)

pytestmark = pytest.mark.slow

FAMILIES = ["llava", "vipllava", "llava_next", "llava_next_video", "llava_onevision"]
SIZES = [(64, 64), (300, 90), (90, 300), (500, 400)]


@pytest.fixture(scope="module")
def loaded_family(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def of_family(family: str) -> LoadedModel:
        folder = tmp_path_factory.mktemp("checkpoints") / family
        random_checkpoint.write(family, folder)  # type: ignore[arg-type]
        loaded = load(ModelConfig(model_path=str(folder), device="cpu"))
        loaded.model.train(False)
        return loaded

    return of_family


@pytest.fixture
def pictures(tmp_path: Path, files: MediaFiles) -> MediaFiles:
    noise = np.random.default_rng(0)
    for i, (width, height) in enumerate(SIZES):
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    frames = [
        PIL.Image.fromarray(noise.integers(0, 256, (60, 80, 3), dtype=np.uint8)) for _ in range(3)
    ]
    frames[0].save(tmp_path / "few.gif", save_all=True, append_images=frames[1:])
    (frames * 4)[0].save(tmp_path / "many.gif", save_all=True, append_images=frames * 3)
    return MediaFiles(tmp_path, tmp_path, files.limits, num_frames=4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_of_a_batch_is_that_of_serving_s_logits(
    loaded_family: Any, pictures: MediaFiles, write_data: WriteData, family: str
) -> None:
    loaded = loaded_family(family)
    entries = [entry("<image>\nWhat?", "A bird.", image=f"{i}.png") for i in range(len(SIZES))]
    entries += [
        entry("<image>\n<image>\nSame?", "No.", image=["0.png", "0.png"]),
        entry("Hi", "Hello."),
    ]
    if loaded.frames is not None:
        entries += [
            entry("<video>\nWhat?", "It moves.", video="few.gif"),
            entry("<video>\nWhat?", "It moves again.", video="many.gif"),
        ]
    data = dataset(loaded, write_data, pictures, entries)
    samples = [data[i] for i in range(len(data))]
    for i, sample in enumerate(samples):
        assert float(run(loaded, [sample]).loss) == pytest.approx(
            by_serving(loaded, pictures, data, i), abs=TOLERANCE
        )
    assert_padding_changes_nothing(loaded, samples)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_check_knows_how_long_a_sample_will_be(
    loaded_family: Any, pictures: MediaFiles, write_data: WriteData, family: str
) -> None:
    loaded = loaded_family(family)
    entries = [entry("<image>\nWhat?", "A bird.", image=f"{i}.png") for i in range(len(SIZES))]
    entries += [entry("<image><image> Same?", "", image=["1.png", "3.png"]), entry("Hi", "Ho")]
    if loaded.frames is not None:
        entries.append(entry("<video>\nWhat?", "It moves.", video="few.gif"))
    data = dataset(loaded, write_data, pictures, entries)
    meter = SampleMeter(loaded, AnswerLabeller(loaded), longest=10_000)
    report = check(write_data(entries), pictures, meter)
    assert [*report.lengths] == [len(data[i].input_ids) for i in range(len(data))]
    assert not report.broken


def test_a_video_for_a_model_without_is_a_fault(
    loaded_family: Any, pictures: MediaFiles, write_data: WriteData
) -> None:
    loaded = loaded_family("llava")
    meter = SampleMeter(loaded, AnswerLabeller(loaded), longest=10_000)
    report = check(write_data([entry("<video>", "a", video="few.gif")]), pictures, meter)
    assert "video" in report.faults[0].reason
