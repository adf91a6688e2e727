"""The folder of uploads is the page's own, and files go back into it under their names."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from llava_serve.errors import StorageFailed
from llava_serve.storage.media import MediaStore
from llava_serve.web import uploads


def test_the_folder_is_emptied_and_private(upload_folder: Path) -> None:
    (upload_folder / "hash").mkdir()
    (upload_folder / "hash" / "left-over.png").write_bytes(b"from before a crash")
    uploads.use_folder(upload_folder)
    assert list(upload_folder.iterdir()) == []
    assert upload_folder.stat().st_mode & 0o777 == 0o700
    assert os.environ["GRADIO_TEMP_DIR"] == str(upload_folder)


def test_the_folder_of_all_ports_is_private_too(upload_folder: Path) -> None:
    uploads.use_folder(upload_folder / "ports" / "7860")
    assert (upload_folder / "ports").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="file/uploads"):
        uploads.use_folder(tmp_path / "file" / "uploads")


async def test_an_image_that_comes_back_has_kept_its_name(
    upload_folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "my cat.png")
    media = MediaStore(tmp_path / "media", 10_000)
    kept = media.put(tmp_path / "my cat.png")
    lent = await uploads.lend([kept], media)
    assert await uploads.keep(lent, media) == (kept,)
    assert [Path(path).name for path in lent] == ["my cat.png"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{outside}/evil.png", "evil.png"),
        ("../../evil.png", "evil.png"),
        ("..\\..\\evil.png", "evil.png"),
        ("ev\0il\n.png", "evil.png"),
        ("\ud800cat.png", "cat.png"),
        ("é" * 2500 + ".png", "é" * 125 + ".png"),
        ("x" * 5000, "x" * 255),
        ("x." + "y" * 5000, "x." + "y" * 253),
        *((name, "{filename}") for name in ("", ".", "..", "a/..", "/", " ", "\0")),
    ],
)
async def test_no_name_leads_out_of_the_folder(
    upload_folder: Path, tmp_path: Path, name: str, expected: str
) -> None:
    """A name in the database may be one that was imported before names were checked."""
    Image.new("RGB", (4, 4)).save(tmp_path / "cat.png")
    media = MediaStore(tmp_path / "media", 10_000)
    kept = media.put(tmp_path / "cat.png")
    named = replace(kept, name=name.format(outside=tmp_path / "outside"))
    (path,) = await uploads.lend([named], media)
    assert Path(path) == upload_folder / kept.sha256 / expected.format(filename=kept.filename)
    assert await uploads.keep([path], media) == (replace(kept, name=Path(path).name),)
