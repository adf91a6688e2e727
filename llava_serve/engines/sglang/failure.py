"""What SGLang says went wrong, in any of its shapes, as one of our errors with its message.

Source of the shapes: answers of a running SGLang 0.5.23.
"""

import re
from typing import Any

from llava_serve.errors import (
    ContextOverflow,
    ServeError,
    SglangBusy,
    SglangFailed,
    SglangRefused,
)

_TOO_LONG = re.compile(r"The input \((\d+) tokens\) is longer than .*?\((\d+) tokens\)")
_TOO_MUCH = re.compile(
    r"maximum context length of (\d+) tokens.*?"
    r"(\d+) tokens from the input messages and (\d+) tokens"
)
_LONGEST_MESSAGE = 500  # characters


def error_of(body: Any, status: int) -> ServeError:
    """Translate the body of an answer, or an event of a stream, that tells an error.

    `status` counts where the body brings no code of its own.
    """
    told = body
    while isinstance(told, dict) and isinstance(told.get("error"), dict | str):
        told = told["error"]
    if isinstance(told, dict):
        message = told.get("message") or told.get("detail") or told
        code = told.get("status_code") or told.get("code")
        return error_for(str(message), code if isinstance(code, int) else status)
    return error_for(str(told or ""), status)


def error_for(message: str, status: int) -> ServeError:
    """Choose the error for SGLang's own message and HTTP status."""
    message = message.strip()[:_LONGEST_MESSAGE] or f"it answers {status} and nothing more"
    if match := _TOO_LONG.search(message):
        return ContextOverflow(int(match[1]), 1, int(match[2]))
    if match := _TOO_MUCH.search(message):
        return ContextOverflow(int(match[2]), int(match[3]), int(match[1]))
    if status in (400, 413, 422):
        return SglangRefused(message)
    if status in (429, 503):
        return SglangBusy(message)
    return SglangFailed(f"{message} ({status})")
