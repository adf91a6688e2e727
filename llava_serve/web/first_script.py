"""First script of the page: it runs before Gradio's own, which run before those in its `head`."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = b"<head>"


class FirstScript:
    """Middleware: puts a script at the beginning of the page."""

    def __init__(self, app: ASGIApp, script: str) -> None:
        self._app = app
        self._script = f"<script>{script}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/":
            plain = [one for one in scope["headers"] if one[0] != b"accept-encoding"]
            scope, send = {**scope, "headers": plain}, _HeadSend(send, self._script)
        await self._app(scope, receive, send)


class _HeadSend:
    """Sends a page on as a whole, with something at the beginning of its head."""

    def __init__(self, send: Send, added: bytes) -> None:
        self._send = send
        self._added = added
        self._start: Message | None = None  # of a page that is held until it is whole
        self._held = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if Headers(raw=message["headers"]).get("content-type", "").startswith("text/html"):
                self._start = message
                return
        elif self._start is not None:
            self._held += message.get("body", b"")
            if message.get("more_body", False):
                return
            page = self._held.replace(_HEAD, _HEAD + self._added, 1)
            MutableHeaders(scope=self._start)["Content-Length"] = str(len(page))
            await self._send(self._start)
            message = {**message, "body": page}
        await self._send(message)
