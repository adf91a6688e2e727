"""Error responses: how a `ServeError` is answered, whichever layer answers it."""

from starlette.responses import JSONResponse

from llava_serve import logs
from llava_serve.errors import ServeError


def error_response(error: ServeError, request_id: str | None = None) -> JSONResponse:
    """Return the answer, under the id of the request that is served unless another is given."""
    body = error.as_body(request_id or logs.request_id.get())
    return JSONResponse(body, error.status, headers=error.headers)
