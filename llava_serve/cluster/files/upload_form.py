"""Upload form: the multipart body of an upload, which comes whole and in UTF-8."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message

from fastapi import Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from llava_serve.errors import InvalidField

_CHARSETS = ("utf-8", "utf8", "us-ascii")
_TAIL_BYTES = 1024  # of a body, among which its last boundary is


class _TailedRequest(Request):
    """Remembers the end of the body that is read."""

    tail = b""

    async def stream(self) -> AsyncGenerator[bytes]:
        async for chunk in super().stream():
            self.tail = (self.tail + chunk[-_TAIL_BYTES:])[-_TAIL_BYTES:]
            yield chunk


@asynccontextmanager
async def read_form(request: Request, most_fields: int) -> AsyncIterator[FormData]:
    """Read the form of a request, which has one file and no more than so many fields.

    Raises:
        InvalidField: the body is no such form, is in another charset, or was cut off.
    """
    kind = Message()
    kind["Content-Type"] = request.headers.get("content-type", "")
    if (charset := kind.get_content_charset("utf-8")) not in _CHARSETS:
        raise InvalidField("body", f"is a form in the charset {charset}; send it in UTF-8")
    tailed = _TailedRequest(request.scope, request.receive)
    try:
        async with tailed.form(max_files=1, max_fields=most_fields) as form:
            boundary = kind.get_boundary()
            if boundary is not None and f"--{boundary}--".encode() not in tailed.tail:
                why = "is cut off: the boundary that ends a multipart form has not come"
                raise InvalidField("body", why)
            yield form
    except (HTTPException, UnicodeError) as exc:  # Starlette's, and of a boundary
        reason = exc.detail if isinstance(exc, HTTPException) else str(exc)
        raise InvalidField("body", f"is no multipart form: {reason}") from exc
