"""JSON bodies of requests: the one way in which every route decodes them."""

from codecs import BOM_UTF8
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

from llava_serve.errors import NotJson


def decode(body: bytes) -> Any:
    """Return what the JSON in `body` says; a byte-order mark before it is no part of it.

    Raises:
        NotJson: or it is nested too deep, or has a number of too many digits.
    """
    try:
        # strict, so that all text can be encoded
        return from_json(body.removeprefix(BOM_UTF8), allow_inf_nan=False)
    except ValueError as exc:  # also what bytes that are no UTF-8 raise
        raise NotJson(str(exc)) from exc


class _JsonRequest(Request):
    async def json(self) -> Any:
        return decode(await self.body())


class JsonRoute(APIRoute):
    """A route whose body FastAPI reads by the rule of this module."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle_json
