"""Error bodies of other protocols: what stands on the native wire, as their clients read it."""

from collections.abc import Callable
from typing import Any

from llava_serve.errors import RemoteError

MESSAGES_PATH = "/v1/messages"
RESPONSES_PATH = "/v1/responses"
OLLAMA_PATH = "/api"
# Source: anthropic 2.14.0, anthropic/types/shared: the types of its errors; `api_error` is ours.
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

ErrorShape = Callable[[Any, int], dict[str, Any]]  # takes a body of the native wire, and a status
SourceOf = Callable[[str], str]  # takes a field's path; returns that of what it was made of


def as_anthropic(body: Any, status: int | None = None) -> dict[str, Any]:
    """Return the body of an error of the Messages protocol.

    One that comes in a stream has no `status`: then its code tells.
    """
    error = RemoteError.from_body(body, status or 500)
    status = status or error.kind.status
    other = "invalid_request_error" if status < 500 else "api_error"
    return {
        "type": "error",
        "error": {
            "type": _ANTHROPIC_TYPES.get(status, other),
            "message": error.with_remedy,
            "code": error.code,
            "param": error.param,
        },
        "request_id": error.request_id,
    }


def as_responses(body: Any, status: int | None = None) -> dict[str, Any]:
    """Return the body of an error of the Responses protocol: as `ServeError.as_body` has it."""
    error = RemoteError.from_body(body, status or 500)
    told = body["error"] if isinstance(body, dict) and isinstance(body.get("error"), dict) else {}
    about = {"type": None, "code": error.code, "param": error.param, **told}
    return {"error": about | {"message": error.with_remedy}}


def as_ollama(body: Any, status: int | None = None) -> dict[str, Any]:
    """Return the body of an error of Ollama's protocol, which is a text alone."""
    return {"error": RemoteError.from_body(body, status or 500).with_remedy}


_SHAPES: dict[str, ErrorShape] = {
    MESSAGES_PATH: as_anthropic,
    RESPONSES_PATH: as_responses,
    OLLAMA_PATH: as_ollama,
}


def with_source(body: Any, source_of: SourceOf) -> Any:
    """Return the body of an error of the native wire, about the field as its sender wrote it.

    The message of an error about a field begins with its path: see `InvalidField`.
    """
    error = body.get("error") if isinstance(body, dict) else None
    param = error.get("param") if isinstance(error, dict) else None
    if not isinstance(error, dict) or not isinstance(param, str):
        return body
    message, source = error.get("message"), source_of(param)
    if isinstance(message, str) and message.startswith((f"{param}:", f"{param} ")):
        message = source + message.removeprefix(param)
    return {**body, "error": {**error, "param": source, "message": message}}


def error_shape_of(path: str) -> ErrorShape | None:
    """Return the shape of the errors at `path`; None: they are as the native wire has them."""
    for root, shape in _SHAPES.items():
        if path == root or path.startswith(root + "/"):
            return shape
    return None
