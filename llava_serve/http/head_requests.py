"""HEAD requests: answered as GET would be, without the body."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """Middleware: the app answers HEAD as GET; of its answer status and headers are sent.

    From then on the client has left, as far as the app can see: no stream goes on for nobody.
    Source: RFC 9110, section 9.3.2.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        started = asyncio.Event()

        async def receive_until_start() -> Message:
            coming = asyncio.ensure_future(receive())
            starting = asyncio.ensure_future(started.wait())
            try:
                await asyncio.wait({coming, starting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                coming.cancel()
                starting.cancel()
            gone: Message = {"type": "http.disconnect"}
            return coming.result() if coming.done() and not started.is_set() else gone

        async def send_start(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.set()
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app({**scope, "method": "GET"}, receive_until_start, send_start)
