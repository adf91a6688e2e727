"""Uploads: Gradio's folder of attached files, their names, and the way to the media store."""

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve.errors import BodyTooLarge, MediaUnreadable, StorageFailed
from llava_serve.storage.filenames import last_part
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
        for one in (folder.parent, folder):  # `parents` would give the one above other rights
            one.mkdir(mode=0o700, exist_ok=True)
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
        MediaUnreadable: a file is no image or video, or was not uploaded through the page.
        MediaTooLarge: a file is beyond the limit.
        StorageFailed: the disk does not take it.
    """
    return await asyncio.to_thread(lambda: tuple(media.put(_uploaded(path)) for path in paths))


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
    name = last_part(file.name, otherwise=file.filename)
    copy = Path(get_upload_folder()) / file.sha256 / name
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


# Of who has signed in, for the call that is served: a name of another's upload names nothing.
uploader: ContextVar[str] = ContextVar("uploader", default="")


def _prefix() -> str:
    """Return what the names of a browser's uploads begin with."""
    name = uploader.get()
    return f"uploads/{name}/" if name else "uploads/"


def path_of(name: str) -> str:
    """Return where an upload lies that a browser names.

    Raises:
        MediaUnreadable: the name is none that this page has given, or its file is gone.
    """
    prefix = _prefix()
    hashed, _, file = name.removeprefix(prefix).partition("/")
    named = name.startswith(prefix) and hashed and file
    if not named or "/" in file or {hashed, file} & {".", ".."} or "\0" in name:
        last = name.rpartition("/")[2]
        raise MediaUnreadable(
            f"{last!r} was not uploaded through this page: attach the file itself"
        )
    path = Path(get_upload_folder()) / hashed / file
    if not path.is_file():
        raise MediaUnreadable(f"{file!r} is here no longer: attach it again")
    return str(path)


def without_paths(data: bytes) -> bytes:
    """Put names in place of the paths in an answer to a browser: JSON, or an event with JSON."""
    for folder in _written(get_upload_folder().rstrip("/") + "/"):
        data = data.replace(folder, _prefix().encode())
    return data


def with_paths(value: Any) -> Any:
    """Copy JSON that a browser sent, with paths in place of the names of its files.

    Raises:
        MediaUnreadable: it names a file that is no upload.
    """
    match value:
        case {"path": str(name), **others}:
            known = {key: one for key, one in others.items() if key != "url"}
            return known | {"path": path_of(name)}
        case dict():
            return {key: with_paths(one) for key, one in value.items()}
        case list():
            return [with_paths(one) for one in value]
        case _:
            return value


def _written(folder: str) -> set[bytes]:
    """Return how a folder can be written in JSON, as a text or in an address."""
    texts = (folder, quote(folder))
    escaped = [
        json.dumps(text, ensure_ascii=flag)[1:-1] for text in texts for flag in (False, True)
    ]
    return {text.encode() for text in escaped}
