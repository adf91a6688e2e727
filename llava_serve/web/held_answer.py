"""Held answer: what an app sends of some kinds is held until it is whole, and sent on changed."""

from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Send


class HeldAnswer:
    """Sends an answer of one of the `kinds` of content on as a whole, `changed`, with its length.

    Any other passes as it comes.
    """

    def __init__(
        self, send: Send, kinds: tuple[str, ...], changed: Callable[[bytes], bytes]
    ) -> None:
        self._send = send
        self._kinds = kinds
        self._changed = changed
        self._start: Message | None = None
        self._held = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            if kind.startswith(self._kinds):
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            self._held += message.get("body", b"")
            if message.get("more_body", False):
                return
            message = {**message, "body": self._changed(self._held)}
            MutableHeaders(scope=self._start)["Content-Length"] = str(len(message["body"]))
            await self._send(self._start)
        await self._send(message)
