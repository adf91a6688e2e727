"""Images are shown to a judge that sees, over both protocols, and looked for before it is asked."""

import base64
from pathlib import Path

import pytest
from PIL import Image

from llava_serve.errors import CommandError
from tests.evaluation.review.conftest import Run
from tests.evaluation.review.recorded_judge import RecordedJudge


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(1, 5):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / f"00{number}.jpg")
    return folder


async def test_each_request_shows_the_image_of_its_question(run: Run, images: Path) -> None:
    judge = RecordedJudge()
    await run(judge, show_images=str(images), concurrency="1")
    system, user = judge.bodies[0]["messages"]
    assert "attached" in system["content"]
    data = base64.b64encode((images / "001.jpg").read_bytes()).decode()
    assert user["content"][0]["image_url"]["url"] == f"data:image/jpeg;base64,{data}"


async def test_anthropics_messages_show_it_too(run: Run, images: Path) -> None:
    judge = RecordedJudge()
    await run(judge, show_images=str(images), concurrency="1", judge_protocol="anthropic")
    source = judge.bodies[-1]["messages"][0]["content"][0]["source"]
    assert (source["type"], source["media_type"]) == ("base64", "image/jpeg")
    assert base64.b64decode(source["data"]) == (images / "004.jpg").read_bytes()


async def test_a_missing_or_unfit_image_is_told_before_anything_is_asked(
    run: Run, images: Path
) -> None:
    judge = RecordedJudge()
    (images / "003.jpg").write_bytes(b"II*\0")
    with pytest.raises(CommandError, match=r"003\.jpg cannot be shown to a judge: it is TIFF"):
        await run(judge, show_images=str(images))
    (images / "002.jpg").unlink()
    with pytest.raises(CommandError, match=r"cannot read the image .*002\.jpg"):
        await run(judge, show_images=str(images))
    assert judge.bodies == []
