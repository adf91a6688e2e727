"""The folder of uploads is the page's own, and files go back into it under their names."""

import os
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
