"""Files and addresses become parts of a question."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import FileResponse

from llava_serve.errors import CommandError, MediaTooLarge, MediaUnreadable
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.terminal.attachment import Attachments
from llava_serve.terminal.config import CliConfig


@pytest.fixture
async def attachments() -> AsyncIterator[Attachments]:
    config = CliConfig(max_image_mb=0.1, num_frames=2)
    async with MediaReader(config) as reader:
        yield Attachments(reader, config)


async def test_an_image_goes_into_the_question_whole(
    attachments: Attachments, image_file: Path
) -> None:
    part = await attachments.image(str(image_file))
    assert part.image_url.url.startswith("data:image/png;base64,")


async def test_a_video_says_how_many_frames_are_wanted(
    attachments: Attachments, video_file: Path
) -> None:
    part = await attachments.video(str(video_file))
    assert part.video_url.url.startswith("data:image/gif;base64,")
    assert part.video_url.num_frames == 2


async def test_an_address_in_the_users_own_network_is_fetched(
    attachments: Attachments, image_file: Path
) -> None:
    app = FastAPI()

    @app.get("/a.png")
    async def give() -> FileResponse:
        return FileResponse(image_file)

    async with serving.served(app) as address:
        from_web = await attachments.image(f"{address}/a.png")
        with pytest.raises(CommandError, match="status 404") as refused:
            await attachments.image(f"{address}/b.png")
    assert from_web == await attachments.image(str(image_file))
    assert "give its path" in refused.value.remedy


async def test_a_missing_file_is_named_with_the_folder_it_was_sought_in(
    attachments: Attachments,
) -> None:
    with pytest.raises(CommandError, match=r"cannot read nope\.png: No such file") as refused:
        await attachments.image("nope.png")
    assert str(Path.cwd()) in refused.value.remedy


@pytest.mark.parametrize("path", ["~nobody-of-this-name/a.png", "a" * 300, "a\0b"])
async def test_a_path_that_cannot_be_is_an_error_like_any_other(
    attachments: Attachments, path: str
) -> None:
    with pytest.raises(CommandError, match="cannot read"):
        await attachments.image(path)


async def test_a_file_that_is_no_image_is_named(attachments: Attachments, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    page.write_text("<html>")
    with pytest.raises(MediaUnreadable, match=r"page\.png: .*HTML"):
        await attachments.image(str(page))
    with pytest.raises(MediaUnreadable, match=r"page\.png: .*HTML"):
        await attachments.video(str(page))


async def test_a_file_beyond_the_limit_is_not_read(
    attachments: Attachments, tmp_path: Path
) -> None:
    big = tmp_path / "big.png"
    big.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200_000))
    with pytest.raises(MediaTooLarge, match="--max-image-mb"):
        await attachments.image(str(big))
