"""What cannot be trained on is found before the first step, with its place and the reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.errors import CommandError
from llava_serve.media.limits import FileLimits
from llava_serve.tiny import EXAMPLES
from llava_serve.training.check import DataFault, SampleMeter, check
from llava_serve.training.labels import AnswerLabeller
from llava_serve.training.media_files import MediaFiles
from llava_serve.training.mixture import open_mixture
from tests.training.conftest import WriteData, entry, examples


@pytest.fixture
def meter(bundled: LoadedModel) -> SampleMeter:
    return SampleMeter(bundled, AnswerLabeller(bundled), longest=bundled.context_length)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of pictures, some of which cannot be read."""
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(EXAMPLES / "red-circle.png", images / "red.png")
    whole = (EXAMPLES / "red-circle.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "text.png").write_text("no picture")
    (images / "empty.png").write_bytes(b"")
    PIL.Image.new("RGB", (3000, 20)).save(images / "thin.png")
    PIL.Image.new("RGB", (900, 900)).save(images / "large.png")
    return images


@pytest.fixture
def media(folder: Path) -> MediaFiles:
    return MediaFiles(folder, folder, FileLimits(20_000_000, 500_000), num_frames=8)


WHOLE = entry("<image>\nWhat?", "A red circle.", image="red.png")


def with_picture(name: str) -> dict[str, Any]:
    return entry("<image>\nWhat?", "A bird.", image=name)


BROKEN: dict[str, tuple[Any, str]] = {
    "missing": (with_picture("none.png"), "none.png cannot be read"),
    "a folder": (with_picture("."), "Is a directory"),
    "a zero byte": (with_picture("a\0b"), "cannot be read"),
    "cut": (with_picture("cut.png"), "cut.png: the PNG file is damaged or cut short"),
    "text": (with_picture("text.png"), "it is not a picture of a known format"),
    "empty": (with_picture("empty.png"), "it is not a picture of a known format"),
    "thin": (with_picture("thin.png"), "at most 100 times the shorter one"),
    "large": (with_picture("large.png"), "at most 0.5 megapixels are accepted"),
    "no video": (entry("<video>", "a", video="red.png"), "it is not a video of a known format"),
    "long": (entry("<image>" + "word " * 5000, "a", image="red.png"), "and the model takes"),
    "no place": (entry("What?", "a", image="red.png"), "it names 1 image and has 0 places"),
    "no picture": (entry("<image>", "a"), "it names 0 images and has 1 place"),
    "gpt first": ({"conversations": [{"from": "gpt", "value": "a"}]}, "turn 1 is from gpt"),
    "no turn": ({"conversations": []}, "its conversation is empty"),
    "no object": (3, "no JSON object"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_sample_is_told_with_its_place_and_the_reason(
    media: MediaFiles, meter: SampleMeter, write_data: WriteData, name: str
) -> None:
    broken, reason = BROKEN[name]
    told: list[DataFault] = []
    report = check(write_data([WHOLE, broken, WHOLE]), media, meter, told.append)
    assert ([*report.broken], report.samples, len(report.lengths)) == ([1], 3, 2)
    assert report.faults == told
    assert told[0].place.endswith("data.json, entry 2")
    assert reason in told[0].reason
    with pytest.raises(CommandError, match="1 of 3 samples cannot be trained on") as raised:
        report.require_whole()
    assert reason in str(raised.value)
    assert "--skip_broken True" in raised.value.remedy


def test_a_line_that_is_no_json_is_told_by_its_number(
    tmp_path: Path, media: MediaFiles, meter: SampleMeter
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(f"{json.dumps(WHOLE)}\n\n{{oops\n{json.dumps(WHOLE)}\n")
    report = check(open_mixture(str(path)), media, meter)
    assert [fault.place for fault in report.faults] == [f"{path}, line 3"]


def test_what_is_left_has_the_lengths_that_were_measured(
    media: MediaFiles, meter: SampleMeter, write_data: WriteData
) -> None:
    entries = [BROKEN["cut"][0], WHOLE, BROKEN["no turn"][0], entry("Hi", "Hello")]
    mixture = write_data(entries)
    report = check(mixture, media, meter)
    left = mixture.without(report.broken)
    assert len(left) == len(report.lengths) == 2
    assert [left.place(i)[-1] for i in range(2)] == ["2", "4"]
    assert report.lengths[0] > report.lengths[1]


def test_only_the_first_faults_are_kept(
    media: MediaFiles, meter: SampleMeter, write_data: WriteData
) -> None:
    report = check(write_data([3] * 50 + [WHOLE]), media, meter)
    assert (len(report.broken), len(report.faults)) == (50, 20)
    assert str(report).endswith("entry 20: it is no JSON object\nand 30 more")


def test_data_that_is_whole_passes(
    meter: SampleMeter, files: MediaFiles, write_data: WriteData
) -> None:
    report = check(write_data(examples()), files, meter)
    assert (report.samples, [*report.broken]) == (len(examples()), [])
    report.require_whole()
