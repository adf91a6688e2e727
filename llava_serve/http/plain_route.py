"""Plain routes: FastAPI shows them, and leaves the request and the response to their functions."""

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class PlainRoute(APIRoute):
    """A route whose function takes the request alone, and returns a response.

    There is nothing in it for FastAPI to read, check or convert, which takes longer than the rest
    of a short request.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = await self.endpoint(Request(scope, receive))
        await response(scope, receive, send)
