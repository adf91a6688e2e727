"""What a browser attached to a question, taken into the media store."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gradio.utils import get_upload_folder

from llava_serve.errors import MediaUnreadable
from llava_serve.storage.media import MediaStore, StoredFile


async def keep(paths: Sequence[str], media: MediaStore) -> tuple[StoredFile, ...]:
    """Take uploaded files into the store; the disk is read and written off the event loop.

    Raises:
        MediaUnreadable: a file is no picture or video, or was not uploaded through the page.
        MediaTooLarge: a file is beyond the limit.
        StorageFailed: the disk does not take it.
    """
    return tuple([await asyncio.to_thread(_keep, Path(path), media) for path in paths])


def _keep(path: Path, media: MediaStore) -> StoredFile:
    # The path came from the browser: only what Gradio itself put into its folder is an upload.
    if not path.resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise MediaUnreadable(f"{path.name!r} was not uploaded through this page")
    return media.put(path)
