"""Own request: what this process asks of its own app for somebody, as if it came by the network.

So it passes the same routes, limits, accounts, lines and workers as that caller's own requests.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message

from llava_serve.http.caller import Caller

logger = logging.getLogger(__name__)

INCOMPLETE = "answer_incomplete"
_INCOMPLETE = to_json(
    {
        "error": {
            "code": INCOMPLETE,
            "message": "the answer broke off before its end. Send the request again.",
        }
    }
)


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """The whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")


async def own_request(
    app: ASGIApp, path: str, body: bytes, caller: Caller, left: asyncio.Event
) -> OwnAnswer | None:
    """Return the answer of `app` to a POST; None where `left` was set first, and the work ended.

    One that broke off is an error with the code INCOMPLETE.
    """
    sent = False
    start: Message | None = None
    content = bytearray()

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    is_whole = False

    async def send(message: Message) -> None:
        nonlocal start, is_whole
        if message["type"] == "http.response.start":
            start = message
        else:
            content.extend(message.get("body", b""))
            is_whole = not message.get("more_body", False)

    try:
        await app(_scope(path, body, caller), receive, send)
    except Exception:  # a bug, which is answered before it is raised again
        if not is_whole:
            raise
        logger.exception("a request of a batch failed")
    if start is None or not is_whole:
        return None if left.is_set() else OwnAnswer(502, {}, _INCOMPLETE)
    return OwnAnswer(start["status"], Headers(raw=start.get("headers", [])), bytes(content))


def _scope(path: str, body: bytes, caller: Caller) -> dict[str, object]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
        "client": None,  # whose bodies no address shares
        "server": None,
        "state": {"caller": caller},  # which lets it pass the guard
    }
