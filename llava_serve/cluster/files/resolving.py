"""File ids of a request become the pictures themselves, which workers are sent as `data:` URLs.

A part names a picture that was uploaded as `{"type": "image_file", "image_file": {"file_id": …}}`,
or as parts of other protocols do. vLLM's `uuid` names one that a client has sent with an earlier
request, under a name of its own.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Request
from pydantic_core import to_json

from llava_serve.cluster.files.file_store import FileStore, id_of_uuid
from llava_serve.cluster.files.kept_file import KeptFile
from llava_serve.errors import FileQuotaSpent, FileUnknown, InvalidField, StorageFailed
from llava_serve.errors.base import BadRequest
from llava_serve.http.body import grow_body
from llava_serve.http.caller import caller_of
from llava_serve.media.fetch import is_data_uri, read_data_uri, trimmed

logger = logging.getLogger(__name__)

_MOST_UUID = 1000  # characters
_MOST_NAMED = 256  # files of one request
Part = dict[str, Any]
Place = tuple[str, list[Any], int]  # its path; the list that it stands in, and where
Named = tuple[Place, str, str]  # a part; the id that it names, and the name that its sender knows
Brought = dict[str, tuple[str, str]]  # by id: the `uuid` and the URL of a picture
Parsed = TypeVar("Parsed")


async def resolved(
    store: FileStore | None,
    request: Request,
    decoded: Any,
    body: bytes,
    parse: Callable[[Any], Parsed],
) -> tuple[Parsed, Any, bytes]:
    """Return the body with the pictures that it names: what `parse` says of it, decoded, encoded.

    Pictures that it brings under a `uuid` are kept, once it has been parsed.

    Raises:
        FileUnknown: what it names is not kept for whoever asks.
        InvalidField: the name is none, or there are too many.
        BodyTooLarge, NoRoomForBody: with its pictures it is beyond the limits of bodies.
        BadRequest: what `parse` raises.
    """
    named, brought = _named_and_brought(decoded)
    if store is None:
        if named:
            why = "names a file, and this server keeps none (--files-quota-mb 0)"
            raise InvalidField(named[0][0][0], why)
        return parse(decoded), decoded, body
    owner = caller_of(request).owner
    if named:
        await _put_in(store, request, owner, named, brought)
        body = to_json(decoded)
    parsed = parse(decoded)
    if brought:
        await asyncio.to_thread(_keep, store, owner, brought)
    return parsed, decoded, body


def with_any_image(decoded: Any) -> Any:
    """Put an empty picture in each named one's place, so that a body can be parsed without them.

    Raises:
        InvalidField: what it names is none.
    """
    for (_, content, at), *_ in _named_and_brought(decoded)[0]:
        content[at] = _with_image(content[at], "data:,")
    return decoded


def _named_and_brought(decoded: Any) -> tuple[list[Named], Brought]:
    named: list[Named] = []
    brought: Brought = {}
    count = 0
    for place in _parts(decoded):
        path, content, at = place
        name, uuid = _file_id(path, content[at]), _uuid(path, content[at])
        if name is None and uuid is None:
            continue
        if count >= _MOST_NAMED:
            raise InvalidField("messages", f"name more than {_MOST_NAMED} files")
        count += 1
        url = _url(content[at])
        if name is not None:
            named.append((place, name, name))
        elif uuid is not None and not url:
            named.append((place, id_of_uuid(uuid), uuid))
        elif uuid is not None and url and is_data_uri(trimmed(url)):
            brought[id_of_uuid(uuid)] = (uuid, url)
    return named, brought


async def _put_in(
    store: FileStore, request: Request, owner: str, named: list[Named], brought: Brought
) -> None:
    """Put the pictures themselves in place of the parts that name them."""
    found = [
        brought[name][1] if name in brought else await _found(store, owner, place[0], name, told)
        for place, name, told in named
    ]
    sizes = [len(one) if isinstance(one, str) else one.size_bytes * 4 // 3 for one in found]
    await grow_body(request, sum(sizes))
    for ((_, content, at), *_), one in zip(named, found, strict=True):
        url = one if isinstance(one, str) else await asyncio.to_thread(_read, store, owner, one)
        content[at] = _with_image(content[at], url)


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


def _keep(store: FileStore, owner: str, brought: Brought) -> None:
    """Keep pictures that were sent under a name; those that are not kept have to come again."""
    try:
        store.add_all(owner, _described(store, brought))
    except FileQuotaSpent as exc:
        logger.info("a picture with a uuid is not kept: %s", exc.message)
    except StorageFailed as exc:
        logger.warning("a picture with a uuid is not kept: %s", exc.message)


def _described(store: FileStore, brought: Brought) -> Iterator[tuple[KeptFile, bytes]]:
    """Decode one picture after the other, so that they are not in memory all at once."""
    for file_id, (uuid, url) in brought.items():
        with suppress(BadRequest):  # the worker says what is wrong with it
            data = read_data_uri(url, store.limits.file.file_bytes)
            kept = store.described(data, uuid, "vision", file_id)
            yield kept, data


async def _found(store: FileStore, owner: str, path: str, file_id: str, told: str) -> KeptFile:
    try:
        return await asyncio.to_thread(store.find, owner, file_id)
    except FileUnknown as exc:
        raise FileUnknown(told, path) from exc


def _read(store: FileStore, owner: str, kept: KeptFile) -> str:
    data = base64.b64encode(store.read(owner, kept)).decode("ascii")
    return f"data:{kept.media_type};base64,{data}"


def _with_image(part: Part, url: str) -> Part:
    holders = (part, part.get("image_file"), part.get("image_url"))
    details = [one["detail"] for one in holders if isinstance(one, dict) and one.get("detail")]
    image: Part = {"url": url}
    return {"type": "image_url", "image_url": image | ({"detail": details[0]} if details else {})}
