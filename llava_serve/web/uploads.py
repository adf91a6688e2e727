"""What a browser attached to a question: Gradio's folder of uploads, and the way to the store."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve.errors import BodyTooLarge, MediaUnreadable, StorageFailed
from llava_serve.storage.media import MediaStore, StoredFile


def use_folder(folder: Path) -> None:
    """Make Gradio keep uploads in `folder`, which is emptied: no page is open that has any.

    Its default is one folder for all users and programs of the machine. To be called before the
    page is built.

    Raises:
        StorageFailed: the folder cannot be made or emptied.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, mode=0o700)
    except OSError as exc:
        raise StorageFailed(f"the upload folder {folder} cannot be made: {exc.strerror}") from exc
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # Gradio reads it from nowhere else


async def size_bytes(paths: Sequence[str]) -> int:
    """Return how large uploaded files are together.

    Raises:
        MediaUnreadable: a file was not uploaded through the page, or is there no longer.
    """
    return await asyncio.to_thread(lambda: sum(_uploaded(path).stat().st_size for path in paths))


async def keep(paths: Sequence[str], media: MediaStore) -> tuple[StoredFile, ...]:
    """Take uploaded files into the store; the disk is read and written off the event loop.

    Raises:
        MediaUnreadable: a file is no picture or video, or was not uploaded through the page.
        MediaTooLarge: a file is beyond the limit.
        StorageFailed: the disk does not take it.
    """
    return tuple([await asyncio.to_thread(_keep, path, media) for path in paths])


def _keep(path: str, media: MediaStore) -> StoredFile:
    return media.put(_uploaded(path))


def _uploaded(path: str) -> Path:
    # The path came from the browser: nothing but uploads gets into Gradio's folder, once
    # `refuse_downloads` was called.
    found = Path(path).resolve()
    if not found.is_relative_to(Path(get_upload_folder()).resolve()):
        raise MediaUnreadable(f"{found.name!r} was not uploaded through this page")
    if not found.is_file():
        raise MediaUnreadable(f"{found.name!r} is here no longer; attach it again")
    return found


async def lend(files: Sequence[StoredFile], media: MediaStore) -> list[str]:
    """Copy stored files to where uploads lie, under the user's names; return the paths.

    Raises:
        StorageFailed: the disk does not take them.
    """
    return [await asyncio.to_thread(_lend, file, media) for file in files]


def _lend(file: StoredFile, media: MediaStore) -> str:
    copy = Path(get_upload_folder()) / file.sha256 / file.name
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(media.read(file))
    except OSError as exc:
        raise StorageFailed(f"{file.name!r} cannot be brought back: {exc.strerror}") from exc
    return str(copy)


def refuse_downloads() -> None:
    """Keep Gradio from fetching web addresses that a browser names as its files.

    It would for every input, sliders too, before any handler runs: the whole body into memory,
    with no bound, and then into the folder of uploads.
    """
    processing_utils.async_ssrf_protected_download = _refuse


async def _refuse(url: str, cache_dir: str) -> str:
    raise gr.Error("a web address is no upload: attach the file itself", print_exception=False)


class UploadBound:
    """Middleware within `RequestScope`: a body beyond its bound ends as Gradio's parser expects.

    The parser then removes its temporary files and answers 413.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_or_refuse() -> Message:
            try:
                return await receive()
            except BodyTooLarge as exc:  # the words by which Gradio tells this from a bad request
                text = f"{exc.message}, the maximum allowed size of one upload. {exc.remedy}"
                raise MultiPartException(text) from exc

        is_upload = scope["type"] == "http" and scope["path"].endswith("/gradio_api/upload")
        await self._app(scope, receive_or_refuse if is_upload else receive, send)
