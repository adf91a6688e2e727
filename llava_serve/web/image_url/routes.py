"""Route of images behind web addresses: fetched under the workers' rules, a few at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from llava_serve.errors import (
    ImageUrlRefused,
    MediaUnreadable,
    RemoteMediaRefused,
    TooManyImageUrls,
)
from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.media.reader import MediaReader
from llava_serve.media.sniff import sniff
from llava_serve.storage import filetypes
from llava_serve.storage.identity import Identity
from llava_serve.web.browser_identity import identity_of
from llava_serve.web.conversation_routes import ForUsers

LONGEST_URL = 4000  # signed addresses have more than a thousand characters
MOST_OF_ONE_USER = 2
MOST_AT_ONCE = 8
NO_IMAGE = "what the address gives cannot be read as a picture; it may be a page that shows one"
# What came from elsewhere is for the page's script alone.
_ALONE = {
    "Cache-Control": "no-store",
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


class PastedUrl(BaseModel):
    """An http(s) address that a user has given."""

    url: str = Field(max_length=LONGEST_URL, pattern=r"^[hH][tT][tT][pP][sS]?://")


class _FetchTurns:
    """Bounds the images that are fetched at once: who has too many is refused, others wait."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(MOST_AT_ONCE)
        self._of_user = Counter[Identity]()

    @asynccontextmanager
    async def of(self, user: Identity) -> AsyncIterator[None]:
        if self._of_user[user] >= MOST_OF_ONE_USER:
            raise TooManyImageUrls(MOST_OF_ONE_USER)
        self._of_user[user] += 1
        try:
            async with self._all:
                yield
        finally:
            self._of_user[user] -= 1
            self._of_user += Counter()  # forgets whoever has none


def image_url_router(reader: MediaReader) -> APIRouter:
    """Return the route; `reader` may fetch web addresses."""
    router = APIRouter(route_class=ForUsers)
    turns = _FetchTurns()

    @router.post("/image-url")
    async def fetch(asked: PastedUrl, request: Request) -> Response:
        async def fetched() -> bytes:
            async with turns.of(identity_of(request.scope)):
                return await _image_file(reader, asked.url)

        file = await unless_client_leaves(fetched(), request.receive)
        if file is None:
            return Response(status_code=204, headers=_ALONE)
        return Response(file, media_type=filetypes.BY_FORMAT[sniff(file)].mime, headers=_ALONE)

    return router


async def _image_file(reader: MediaReader, url: str) -> bytes:
    """Read an image file, and tell nothing of what is none, nor of a connection that failed."""
    try:
        return await reader.image_file(url)
    except MediaUnreadable as exc:
        raise ImageUrlRefused(NO_IMAGE) from exc
    except RemoteMediaRefused as exc:
        raise ImageUrlRefused(str(exc).partition(" (")[0]) from exc
