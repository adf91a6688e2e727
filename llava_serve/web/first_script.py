"""First script of the page: it runs before Gradio's own, which run before those in its `head`."""

from starlette.types import ASGIApp, Receive, Scope, Send

from llava_serve.web.held_answer import HeldAnswer

_HEAD = b"<head>"
_KINDS = ("text/html",)


class FirstScript:
    """Middleware: puts a script at the beginning of the page."""

    def __init__(self, app: ASGIApp, script: str) -> None:
        self._app = app
        self._script = f"<script>{script}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/":
            plain = [one for one in scope["headers"] if one[0] != b"accept-encoding"]
            scope, send = {**scope, "headers": plain}, HeldAnswer(send, _KINDS, self._added)
        await self._app(scope, receive, send)

    def _added(self, page: bytes) -> bytes:
        return page.replace(_HEAD, _HEAD + self._script, 1)
