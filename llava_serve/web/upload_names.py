"""Names of uploads as a browser knows them: `uploads/hash/name`, never a path of this server."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gradio.utils import get_upload_folder

from llava_serve.errors import MediaUnreadable

_PREFIX = "uploads/"


def path_of(name: str) -> str:
    """Return where an upload lies that a browser names.

    Raises:
        MediaUnreadable: the name is none that this page has given, or its file is gone.
    """
    hashed, _, file = name.removeprefix(_PREFIX).partition("/")
    named = name.startswith(_PREFIX) and hashed and file
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
        data = data.replace(folder, _PREFIX.encode())
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
