"""Error base classes: code, status, message and remedy for callers and for users of the page."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

NOT_ANSWERED = "X-Not-Answered"
DECLINED, BUSY, LOST = "1", "busy", "lost"
RETRY_AFTER = "Retry-After"


def not_answered_headers(value: str) -> Mapping[str, str]:
    """Return the headers of an error after which another process may be asked."""
    return MappingProxyType({NOT_ANSWERED: value, RETRY_AFTER: "1"})


ASK_ANOTHER = not_answered_headers(DECLINED)
# A flag, an address, a route, a command, a path or a document: nothing that a user can act on.
FOR_OPERATORS = re.compile(
    r"(?:^|\s)--[a-z]|\w://|\b(?:GET|POST) /|python -m|\b\d+\.\d+\.\d+\.\d+\b|localhost|\bREADME\b"
    r"|(?:^|[\s'\"`(=])~?/[\w.-]+/"
)


# In the message of an error that `quotes_user`: their own words, which hide nothing from them.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


RETRYABLE = 503
# OpenAI's types, by status; a model or a route that is not there is an invalid request to it.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    RETRYABLE: "service_unavailable_error",
}


class ServeError(Exception):
    """An error with a name, a cause and a remedy."""

    code: str = "internal_error"
    number: ClassVar[int] = 1
    status: int = 500
    remedy: str = "Look into the log of the process that answered, under this request id."
    headers: Mapping[str, str] = MappingProxyType({})
    user_told: str | None = None
    quotes_user: ClassVar[bool] = False
    user_remedy: str = (
        "Try again. If it happens again, tell whoever runs this page the code and the time."
    )

    def __init_subclass__(cls) -> None:
        """Add `Retry-After` to every error with status 503."""
        if cls.status == RETRYABLE and RETRY_AFTER not in cls.headers:
            cls.headers = {**cls.headers, RETRY_AFTER: "1"}

    @property
    def message(self) -> str:
        """What happened, for who calls the API or runs the processes."""
        return str(self)

    @property
    def with_remedy(self) -> str:
        """The message as a sentence, and what to do."""
        return f"{_sentence(self.message)} {self.remedy}"

    @property
    def user_message(self) -> str:
        """The message for who uses the page."""
        if self.user_told is not None:
            return self.user_told
        if FOR_OPERATORS.search(
            _QUOTED.sub("", self.message) if self.quotes_user else self.message
        ):
            return "the server cannot do this at the moment"
        return self.message

    @property
    def for_user(self) -> str:
        """The user's message as a sentence, and what a user can do."""
        return f"{_sentence(self.user_message)} {self.user_remedy}"

    def as_body(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the body of an error answer, in the shape the `openai` client reads.

        That shows the message alone, and no other field: so the remedy stands in it too.
        """
        return {
            "error": {
                "message": self.with_remedy,
                "type": _TYPES.get(self.status)
                or ("invalid_request_error" if self.status < 500 else "server_error"),
                "code": self.code,
                "param": getattr(self, "param", None),
                "remedy": self.remedy,
                "request_id": request_id,
            }
        }


class BadRequest(ServeError):
    """The caller can fix it."""

    code = "bad_request"
    number = 3
    status = 400
    remedy = "Correct the request and send it again."
    user_remedy = "Change the question or the parameters, and send it again."


class Unavailable(ServeError):
    """Try again later, or elsewhere."""

    code = "unavailable"
    number = 2
    status = 503
    remedy = "Try again in a moment."
    user_remedy = remedy


class EngineFailure(ServeError):
    """Ours to fix; the cause is in the log, never on the wire."""

    code = "engine_failure"
    user_told = "the server failed at this question"


class CheckpointError(ServeError):
    """A checkpoint cannot be loaded; the message says which file or flag to change."""

    code = "checkpoint_error"
    remedy = (
        'The table under "A real model" in the README has the flags for each kind of checkpoint.'
    )
    user_told = "the model cannot be loaded"


class CommandError(ServeError):
    """A command cannot do what its user asks; never leaves on the wire."""

    code = "command_error"
    user_told = "the server was not started as it should be"

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def class_of(code: str, root: type[ServeError] = ServeError) -> type[ServeError] | None:
    """Return the class whose own code this is."""
    if vars(root).get("code") == code:
        return root
    found = (class_of(code, kind) for kind in root.__subclasses__())
    return next(filter(None, found), None)


def not_answered(code: str) -> str | None:
    """Return the value of `NOT_ANSWERED` that goes with a code; None: it was answered.

    For streams, whose headers are out when an error comes: before any text the code says as much.
    """
    known = class_of(code)
    return None if known is None else known.headers.get(NOT_ANSWERED)
