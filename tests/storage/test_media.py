"""Each file is kept once, under the hash of its bytes, and only if it is a picture or a video."""

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from llava_serve.errors import MediaTooLarge, MediaUnreadable, StorageFailed
from llava_serve.storage.media import MediaStore


@pytest.fixture
def media(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path / "media", limit_bytes=10_000)


def image(path: Path, colour: str = "red") -> Path:
    Image.new("RGB", (8, 8), colour).save(path)
    return path


def test_a_file_lies_under_the_hash_of_its_bytes(media: MediaStore, tmp_path: Path) -> None:
    source = image(tmp_path / "cat.png")
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    kept = media.put(source)
    assert (kept.sha256, kept.name, kept.filetype.kind) == (sha256, "cat.png", "image")
    assert media.path(kept.filename) == tmp_path / "media" / sha256[:2] / f"{sha256}.png"
    assert media.read(kept) == source.read_bytes()


def test_only_the_owner_may_enter_the_folders(media: MediaStore, tmp_path: Path) -> None:
    folder = media.path(media.put(image(tmp_path / "one.png")).filename).parent
    modes = [path.stat().st_mode & 0o777 for path in (media.root, folder)]
    assert modes == [0o700, 0o700]


def test_equal_bytes_are_kept_once_and_nothing_else_is_left(
    media: MediaStore, tmp_path: Path
) -> None:
    media.put(image(tmp_path / "one.png"))
    media.put(image(tmp_path / "two.png"))
    assert len([path for path in (tmp_path / "media").rglob("*") if path.is_file()]) == 1


def test_the_name_proves_nothing(media: MediaStore, tmp_path: Path) -> None:
    kept = media.put(image(tmp_path / "picture.jpg").rename(tmp_path / "picture.png"))
    assert kept.filetype.extension == "jpg"


@pytest.mark.parametrize("extension", ["gif", "webp"])
def test_an_image_that_moves_is_a_video(media: MediaStore, tmp_path: Path, extension: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / f"clip.{extension}", save_all=True, append_images=frames[1:])
    assert media.put(tmp_path / f"clip.{extension}").filetype.kind == "video"
    assert media.put(image(tmp_path / f"still.{extension}")).filetype.kind == "image"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html><script>alert(1)</script></html>", id="page"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', id="svg"),
        pytest.param(b"GIF89a truncated", id="broken gif"),
    ],
)
def test_what_is_no_image_is_refused(media: MediaStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.png").write_bytes(content)
    with pytest.raises(MediaUnreadable, match=r"'fake\.png'"):
        media.put(tmp_path / "fake.png")
    assert not (tmp_path / "media").exists()


def test_a_file_is_called_what_its_user_called_it(media: MediaStore, tmp_path: Path) -> None:
    spare = image(tmp_path / "spare.png")
    assert media.put(spare, "my cat.png").name == "my cat.png"
    spare.write_bytes(b"<html>")
    with pytest.raises(MediaUnreadable, match=r"^'my cat\.png'"):
        media.put(spare, "my cat.png")


def test_a_gif_that_was_cut_anywhere_is_an_image_or_refused(
    media: MediaStore, tmp_path: Path
) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "whole.gif", save_all=True, append_images=frames[1:])
    whole = (tmp_path / "whole.gif").read_bytes()
    refused = 0
    for length in range(len(whole)):
        (tmp_path / "cut.gif").write_bytes(whole[:length])
        try:
            media.put(tmp_path / "cut.gif")
        except MediaUnreadable:
            refused += 1
    assert refused > len(whole) / 2


def test_a_file_beyond_the_limit_is_refused_with_the_numbers(
    media: MediaStore, tmp_path: Path
) -> None:
    source = image(tmp_path / "big.png")
    with source.open("ab") as file:
        file.write(bytes(200_000))
    with pytest.raises(MediaTooLarge, match=r"0\.2 MB.*0\.0 MB"):
        media.put(source)


def test_a_disk_that_refuses_is_a_storage_failure(tmp_path: Path) -> None:
    source = image(tmp_path / "cat.png")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="file store failed"):
        MediaStore(tmp_path / "file" / "media", 10_000).put(source)
