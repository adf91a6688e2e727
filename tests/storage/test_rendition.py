"""What not every browser shows is kept as it came, and shown as a picture made of it."""

import io
from pathlib import Path

import pytest
from PIL import Image

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.storage.media import MediaStore
from tests.media.drawn import RED, close, encoded
from tests.media.filmed import video_file


@pytest.fixture
def media(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path / "media", limit_bytes=1_000_000)


def red(size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, RED)


@pytest.mark.parametrize(("kind", "extension"), [("HEIC", "heic"), ("TIFF", "tif")])
def test_an_image_is_kept_whole_beside_what_the_page_shows(
    media: MediaStore, tmp_path: Path, kind: str, extension: str
) -> None:
    (tmp_path / "photo").write_bytes(data := encoded(red((3000, 100)), kind))
    kept = media.put(tmp_path / "photo")
    assert (kept.filetype.extension, kept.filetype.kind) == (extension, "image")
    assert media.read(kept) == data
    with Image.open(media.shown_path(kept.filename)) as shown:
        assert (shown.format, shown.size) == ("WEBP", (2048, 68))
        assert close(shown.convert("RGB").getpixel((9, 9)), RED)


@pytest.mark.parametrize(
    ("container_format", "codec", "extension"),
    [("matroska", "libx264", "mkv"), ("avi", "mpeg4", "avi")],
)
def test_of_a_video_that_few_browsers_play_the_first_frame_is_shown(
    media: MediaStore, tmp_path: Path, container_format: str, codec: str, extension: str
) -> None:
    (tmp_path / "film").write_bytes(video_file(container_format, codec))
    kept = media.put(tmp_path / "film")
    assert (kept.filetype.extension, kept.filetype.kind) == (extension, "video")
    assert not kept.filetype.needs_player
    with Image.open(media.shown_path(kept.filename)) as shown:
        assert shown.size == (64, 32)
        assert close(shown.convert("RGB").getpixel((4, 4)), (255, 255, 255), 30)


@pytest.mark.parametrize("container_format", ["mp4", "mov", "3gp"])
def test_what_browsers_play_is_shown_as_it_is(
    media: MediaStore, tmp_path: Path, container_format: str
) -> None:
    (tmp_path / "film").write_bytes(video_file(container_format))
    kept = media.put(tmp_path / "film")
    assert kept.filetype.extension == container_format
    assert kept.filetype.needs_player
    assert media.shown_path(kept.filename) == media.path(kept.filename)


def test_a_rendition_goes_with_its_file(media: MediaStore, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(encoded(red(), "HEIC"))
    kept = media.put(tmp_path / "photo")
    assert media.put(tmp_path / "photo") == kept
    assert len(list((tmp_path / "media").rglob("*.*"))) == 2
    media.delete(kept.filename)
    assert not list((tmp_path / "media").rglob("*.*"))


def test_what_cannot_be_shown_is_refused_and_not_kept(media: MediaStore, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(encoded(red(), "HEIC")[:-50])
    with pytest.raises(MediaUnreadable, match=r"'photo'.*HEIC file"):
        media.put(tmp_path / "photo")
    huge = io.BytesIO()
    Image.new("1", (8000, 8000)).save(huge, "TIFF", compression="group4")
    (tmp_path / "scan").write_bytes(huge.getvalue())
    with pytest.raises(MediaTooLarge, match=r"'scan'.*8000 x 8000"):
        media.put(tmp_path / "scan")
    assert not list((tmp_path / "media").rglob("*.*"))
