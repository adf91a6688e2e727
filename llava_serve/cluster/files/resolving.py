"""File ids of a request become the pictures themselves, which workers are sent as `data:` URLs.

A part names a picture that was uploaded as `{"type": "image_file", "image_file": {"file_id": …}}`,
or as parts of other protocols do. vLLM's `uuid` names one that a client has sent with an earlier
request, under a name of its own.
"""

import asyncio
import base64
import logging
from collections.abc import Iterator
from typing import Any

from fastapi import Request
from pydantic_core import to_json

from llava_serve.cluster.files.shelf import FileShelf, KeptFile, id_of_uuid
from llava_serve.errors import FileQuotaSpent, FileUnknown, InvalidField
from llava_serve.errors.base import BadRequest
from llava_serve.http.body import grow_body
from llava_serve.http.caller import caller_of
from llava_serve.media.fetch import is_data_uri, read_data_uri, trimmed

logger = logging.getLogger(__name__)

_MOST_UUID = 1000  # characters
_MOST_NAMED = 256  # files of one request
Part = dict[str, Any]
Place = tuple[str, list[Any], int]  # its path; the list that it stands in, and where


async def resolved(
    shelf: FileShelf | None, request: Request, decoded: Any, body: bytes
) -> tuple[Any, bytes]:
    """Return the body with the pictures that it names, decoded and encoded.

    Pictures that it brings under a `uuid` are kept.

    Raises:
        FileUnknown: what it names is not kept for whoever asks.
        InvalidField: the name is none.
        BodyTooLarge, NoRoomForBody: with its pictures it is beyond the limits of bodies.
    """
    named: list[tuple[Place, str, str]] = []
    for place in _parts(decoded):
        path, content, at = place
        if len(named) > _MOST_NAMED:
            raise InvalidField("messages", f"name more than {_MOST_NAMED} files")
        name = _file_id(path, content[at])
        uuid, url = _uuid(path, content[at]), _url(content[at])
        if name is None and uuid is not None and not url:
            name = id_of_uuid(uuid)
        if name is not None:
            named.append((place, name, uuid or name))
        elif shelf is not None and uuid is not None and url and is_data_uri(trimmed(url)):
            await asyncio.to_thread(_keep, shelf, caller_of(request).owner, uuid, url)
    if not named:
        return decoded, body
    if shelf is None:
        path = named[0][0][0]
        raise InvalidField(path, "names a file, and this server keeps none (--files-quota-mb 0)")
    owner = caller_of(request).owner
    found = [await _found(shelf, owner, place[0], *names) for place, *names in named]
    await grow_body(request, sum(each.size_bytes for each in found) * 4 // 3)
    for ((_, content, at), *_), kept in zip(named, found, strict=True):
        content[at] = await asyncio.to_thread(_with_image, shelf, owner, content[at], kept)
    return decoded, to_json(decoded)


def _parts(decoded: Any) -> Iterator[Place]:
    messages = decoded.get("messages") if isinstance(decoded, dict) else None
    for number, message in enumerate(messages if isinstance(messages, list) else []):
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            continue
        for at, part in enumerate(content):
            if isinstance(part, dict):
                yield f"messages.{number}.content.{at}", content, at


def _file_id(path: str, part: Part) -> str | None:
    """Return the id that a part names, whose type may be one of other protocols."""
    kind = part.get("type")
    holder = part.get(kind) if kind in ("image_file", "file") else part
    if kind not in ("image_file", "file", "input_image") or not isinstance(holder, dict):
        return None
    file_id = holder.get("file_id")
    if file_id is None and kind != "image_file":
        return None  # a file or an address of its own, of which the check of fields speaks
    if not isinstance(file_id, str) or not file_id:
        raise InvalidField(f"{path}.{kind}.file_id", "must be the id of a file")
    return file_id


def _uuid(path: str, part: Part) -> str | None:
    uuid = part.get("uuid") if part.get("type") == "image_url" else None
    if uuid is not None and not (isinstance(uuid, str) and 0 < len(uuid) <= _MOST_UUID):
        raise InvalidField(f"{path}.uuid", f"must be a text of at most {_MOST_UUID} characters")
    return uuid


def _url(part: Part) -> str | None:
    holder = part.get("image_url")
    url = holder.get("url") if isinstance(holder, dict) else holder
    return url if isinstance(url, str) else None


def _keep(shelf: FileShelf, owner: str, uuid: str, url: str) -> None:
    """Keep a picture that was sent under a name; where there is no room, it has to come again."""
    try:
        data = read_data_uri(url, shelf.limits.file.file_bytes)
        shelf.add(owner, data, filename=uuid, purpose="vision", file_id=id_of_uuid(uuid))
    except FileQuotaSpent as exc:
        logger.info("a picture with a uuid is not kept: %s", exc.message)
    except BadRequest:
        return  # the worker says what is wrong with it


async def _found(shelf: FileShelf, owner: str, path: str, file_id: str, told: str) -> KeptFile:
    try:
        return await asyncio.to_thread(shelf.find, owner, file_id)
    except FileUnknown as exc:
        raise FileUnknown(told, path) from exc


def _with_image(shelf: FileShelf, owner: str, part: Part, kept: KeptFile) -> Part:
    data = base64.b64encode(shelf.read(owner, kept)).decode("ascii")
    holders = (part, part.get("image_file"), part.get("image_url"))
    details = [one["detail"] for one in holders if isinstance(one, dict) and one.get("detail")]
    image: Part = {"url": f"data:{kept.media_type};base64,{data}"}
    return {"type": "image_url", "image_url": image | ({"detail": details[0]} if details else {})}
