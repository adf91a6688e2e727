"""Every error this package raises on purpose.

    ServeError
    ├── BadRequest               the caller can fix it
    │   ├── InvalidField             a field has a value that cannot be served
    │   │   └── NotJson              a body that cannot be read at all
    │   ├── UnsupportedField         a field this engine does not honour, refused by name
    │   ├── MalformedHttp            the bytes are no HTTP request
    │   ├── NoSuchRoute              this process serves nothing at that path, or not that way
    │   ├── HostRefused              the request is for a host name that is not this server's
    │   ├── OriginRefused            a web page of another host sent it
    │   ├── ContentTypeRefused       the body is not declared as JSON
    │   ├── ForInsiders              it is for this machine, or for who has the cluster's token
    │   ├── ModelNotFound            nobody here serves that model
    │   ├── ContextOverflow          prompt and answer do not fit into the context
    │   │   └── TextTooLong              a text that cannot fit, told before it is tokenised
    │   ├── MediaNotAccepted         this model takes no pictures or no video
    │   ├── MediaCountMismatch       pictures and placeholders differ in number
    │   ├── MediaUnreadable          not a picture or video that can be decoded
    │   ├── MediaTooLarge            bytes, pixels, side, ratio or frames beyond a limit
    │   ├── RemoteMediaRefused       a web address that may not be fetched
    │   ├── HeadersTooLarge          the head of a request is beyond the limit
    │   ├── HeadersTimeout           the head of a request does not arrive in time
    │   ├── BodyTooLarge             the request itself is beyond the limit
    │   ├── BodyTimeout              the body of a request does not arrive in time
    │   ├── TextTooLarge             the request without its pictures is beyond the limit
    │   ├── SglangRefused            what the SGLang server says is wrong with the request
    │   ├── TooManyFiles             more pictures and videos than one question on the page takes
    │   ├── ModerationRefused        the page's moderation check does not let the question pass
    │   ├── StillAnswering           the page's last answer is open; the next question must wait
    │   ├── CannotContinue           the worker does not go on with an answer that was begun
    │   ├── ConversationUnknown      the page keeps no conversation under that address
    │   └── RegistrationRefused      a worker that may not join, with the reason
    ├── Unavailable              try again later, or elsewhere
    │   ├── NoWorker                 no live worker serves the model
    │   ├── WorkerUnreachable        the chosen worker does not answer
    │   ├── WorkerLost               the worker died in mid-answer
    │   ├── WorkersLost              one worker after the other died with the request
    │   ├── ControllerUnreachable    nobody answers at the controller's address
    │   ├── TooManyConnections       the process has no connection left
    │   ├── ControllerLost           the controller died in mid-answer
    │   ├── AnswerInterrupted        the page's server stopped in mid-answer
    │   ├── Busy                     every slot and every waiting place is taken
    │   ├── SglangUnreachable        no SGLang server is ready behind the worker
    │   ├── SglangLost               the SGLang server died in mid-answer
    │   ├── SglangBusy               the SGLang server takes no more requests for the moment
    │   ├── ModerationUnavailable    the page's moderation check cannot be made
    │   ├── ShuttingDown             the process is about to stop
    │   └── Interrupted              the process stopped before the answer was complete
    ├── EngineFailure            ours to fix; the cause is in the log, never on the wire
    │   ├── EngineLost               the engine failed for good, and its worker with it
    │   ├── OutOfMemory              the request needs more memory than the device has
    │   └── SglangFailed             the SGLang server failed at a request that should be fine
    ├── StorageFailed            conversations or pictures cannot be kept or read
    ├── CheckpointError          a checkpoint that cannot be loaded; raised before serving starts
    ├── CommandError             a command cannot do as it is told: a file, flag, port or process
    └── RemoteError              an error another process of ours reported, passed on as it came

`code` names the error on the native wire, `number` on LLaVA's (its own numbers where it has one),
`status` is the HTTP status, `remedy` says what to do. Anything that is not a ServeError is a bug:
it is logged with its traceback and leaves as `EngineFailure`.

Each error has two texts. `message` and `remedy` are for who calls the API or runs the processes.
`user_message` and `user_remedy` are for who uses the page, who can start nothing and set no flag:
they name no address, flag, path or command. A class whose message names such has `user_told`.

With an error that has the header `NOT_ANSWERED`, on either wire, nothing of the request was
answered, and another process may well answer it: whoever passes requests on may try that. Its
value says what became of the request: it was declined, found no place (`busy`), or was accepted by
a process that was then `lost`. An error that a client may meet names no address of the cluster:
that stands in the log, under the request id.

Source of the numbers: haotian-liu/LLaVA@c121f04, llava/constants.py and llava/serve.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

NOT_ANSWERED = "X-Not-Answered"
DECLINED, BUSY, LOST = "1", "busy", "lost"


def _not_answered(value: str) -> Mapping[str, str]:
    return MappingProxyType({NOT_ANSWERED: value, "Retry-After": "1"})


ASK_ANOTHER = _not_answered(DECLINED)
# A flag, an address, a route, a command, a path or a document: nothing that a user can act on.
FOR_OPERATORS = re.compile(
    r"(?:^|\s)--[a-z]|\w://|\b(?:GET|POST) /|python -m|\b\d+\.\d+\.\d+\.\d+\b|localhost|\bREADME\b"
    r"|(?:^|[\s'\"`(=])~?/[\w.-]+/"
)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


_RETRY_AFTER = "Retry-After"
_PASSES = 503
# OpenAI's types, by status; a model or a route that is not there is an invalid request to it.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    _PASSES: "service_unavailable_error",
}


class ServeError(Exception):
    """An error with a name, a cause and a remedy."""

    code: str = "internal_error"
    number: ClassVar[int] = 1
    status: int = 500
    remedy: str = "Look into the log of the process that answered, under this request id."
    headers: Mapping[str, str] = MappingProxyType({})
    user_told: str | None = None
    user_remedy: str = (
        "Try again. If it happens again, tell whoever runs this page the code and the time."
    )

    def __init_subclass__(cls) -> None:
        """Say when to come back in every error whose status promises that it passes."""
        if cls.status == _PASSES and _RETRY_AFTER not in cls.headers:
            cls.headers = {**cls.headers, _RETRY_AFTER: "1"}

    @property
    def message(self) -> str:
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
        if FOR_OPERATORS.search(self.message):
            return "the server cannot do this at the moment"
        return self.message

    @property
    def for_user(self) -> str:
        """The user's message as a sentence, and what a user can do."""
        return f"{_sentence(self.user_message)} {self.user_remedy}"

    def as_body(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the body of an error answer, in the shape the `openai` client reads."""
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status)
                or ("invalid_request_error" if self.status < 500 else "server_error"),
                "code": self.code,
                "param": getattr(self, "param", None),
                "remedy": self.remedy,
                "request_id": request_id,
            }
        }


class BadRequest(ServeError):
    code = "bad_request"
    number = 3
    status = 400
    remedy = "Correct the request and send it again."
    user_remedy = "Change the question or the parameters, and send it again."


class InvalidField(BadRequest):
    code = "invalid_field"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.param = field


class NotJson(InvalidField):
    remedy = "Send JSON in UTF-8, nested less than 200 deep, with numbers of at most 4,300 digits."

    def __init__(self, reason: str) -> None:
        super().__init__("body", f"is not JSON that can be read ({reason})")


class UnsupportedField(BadRequest):
    code = "unsupported_field"
    remedy = "Leave the field out, or send its neutral value."
    user_remedy = "Put the parameter back to what it was, and send the question again."

    def __init__(self, field: str, detail: str = "is not supported") -> None:
        super().__init__(f"{field} {detail}")
        self.param = field


class MalformedHttp(BadRequest):
    code = "malformed_http"
    remedy = "Speak HTTP/1.1 (or 1.0) without TLS at this port."


class NoSuchRoute(BadRequest):
    code = "no_such_route"
    status = 404
    remedy = "Correct the path, the method or the port; GET /openapi.json lists what is served."
    user_told = "this page asked its server for something that is not there"
    user_remedy = "Reload the page."

    def __init__(self, method: str, path: str, status: int) -> None:
        super().__init__(f"{method} {path} is not served here")
        self.status = status


class HostRefused(BadRequest):
    code = "host_refused"
    remedy = (
        "Use an IP address or localhost, or start the process with this name in --allowed-hosts."
    )
    user_told = "this page is not known to its server under the address you opened"
    user_remedy = "Open the page under the address that you were given for it."

    def __init__(self, host: str) -> None:
        super().__init__(f"the host name {host!r} is not one of this server's")


class OriginRefused(BadRequest):
    code = "origin_refused"
    status = 403
    remedy = "If the page is to be let in, start the process with its host name in --allowed-hosts."
    user_told = "this page may not ask that server"

    def __init__(self, origin: str) -> None:
        super().__init__(f"a web page of {origin!r} may not ask this server")


class ContentTypeRefused(BadRequest):
    code = "content_type_refused"
    status = 415
    remedy = "Send JSON, with the header Content-Type: application/json."
    user_told = "this page sent its server what that does not take"
    user_remedy = "Reload the page."

    def __init__(self, mime: str) -> None:
        super().__init__(f"the content type of the body must be JSON's, and is {mime}")


class ForInsiders(BadRequest):
    code = "for_insiders"
    status = 403
    remedy = (
        "Ask from the machine itself, or with the cluster's token as a bearer token; the flag "
        "--public-metrics opens it to everybody."
    )
    user_told = "this is not for everybody to see"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is for the server's own machine and its cluster")


class ModelNotFound(BadRequest):
    code = "model_not_found"
    status = 404
    remedy = "Ask GET /v1/models for the names that are served."
    user_remedy = "Choose one of the models in the menu."

    def __init__(self, model: str, served: list[str]) -> None:
        known = ", ".join(served) or "none"
        super().__init__(f"the model {model!r} is not served here; served: {known}")
        self.param = "model"


class ContextOverflow(BadRequest):
    code = "context_length_exceeded"
    remedy = "Shorten the conversation, send fewer pictures, or ask for fewer tokens."
    user_remedy = remedy

    def __init__(self, prompt_tokens: int, max_tokens: int, context_length: int) -> None:
        super().__init__(
            f"the prompt has {prompt_tokens} tokens and {max_tokens} are asked for the answer, "
            f"but the context holds {context_length}"
        )


class TextTooLong(ContextOverflow):
    def __init__(self, length: str, context_length: int) -> None:
        """Tell `length`, what is known of it: bytes, or the least number of tokens."""
        BadRequest.__init__(
            self,
            f"the text has {length}, which cannot fit: the context holds {context_length} tokens",
        )


class MediaNotAccepted(BadRequest):
    code = "media_not_accepted"
    remedy = "Choose a model that takes this kind of input, or send text only."
    user_remedy = remedy

    def __init__(self, model: str, kind: str) -> None:
        super().__init__(f"the model {model!r} does not take {kind}")


class MediaCountMismatch(BadRequest):
    code = "media_count_mismatch"
    remedy = "Put exactly one <image> into the prompt for each picture."
    user_told = "the pictures and the places for them in the question differ in number"
    user_remedy = "Remove the pictures, attach them again, and send the question."

    def __init__(self, pictures: int, placeholders: int) -> None:
        super().__init__(f"{pictures} pictures for {placeholders} <image> placeholders")


class MediaUnreadable(BadRequest):
    code = "media_unreadable"
    remedy = (
        "Send a PNG, JPEG, WebP, GIF, BMP, TIFF, HEIC or AVIF picture, or an MP4, MOV, 3GP, WebM, "
        "MKV, AVI or GIF video."
    )
    user_remedy = remedy


class MediaTooLarge(BadRequest):
    code = "media_too_large"
    status = 413
    remedy = "Scale the picture down, or shorten the video."
    user_remedy = remedy


class RemoteMediaRefused(BadRequest):
    code = "remote_media_refused"
    remedy = "Send the file as a data: URI; for public hosts the worker needs --allow-remote-media."
    user_told = "pictures are not fetched from web addresses"
    user_remedy = "Save the picture, and attach the file itself."


class HeadersTooLarge(BadRequest):
    code = "headers_too_large"
    status = 431
    remedy = "Send fewer or shorter headers; what is long belongs into the body."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the head of the request is larger than {limit_bytes} bytes")


class HeadersTimeout(BadRequest):
    code = "headers_timeout"
    status = 408
    remedy = "Send the whole head of a request at once, and connect only to send one."

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the head of the request did not arrive within {seconds:g} s")


class BodyTimeout(BadRequest):
    code = "body_timeout"
    status = 408
    remedy = "Send the body without long pauses; scale pictures down where the network is slow."
    user_told = "the network is too slow for what was sent"
    user_remedy = "Scale the pictures down, and try again."

    def __init__(self, received_bytes: int, seconds: float) -> None:
        super().__init__(
            f"the body of the request is late: after {seconds:.0f} s, {received_bytes} bytes of "
            "it have come"
        )


class TextTooLarge(BadRequest):
    code = "text_too_large"
    status = 413
    remedy = "Shorten the text; the limit is the flag --max-text-mb."
    user_remedy = "Shorten the question or the system prompt."

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the request has {size_bytes / 1e6:.1f} MB besides its pictures and videos; at most "
            f"{limit_bytes / 1e6:g} MB are accepted"
        )


class BodyTooLarge(BadRequest):
    code = "body_too_large"
    status = 413
    remedy = "Send fewer or smaller pictures; the limit is the flag --max-body-mb."
    user_remedy = "Attach fewer or smaller pictures, or begin a new conversation."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the request is larger than {limit_bytes / 1e6:g} MB")


class TooManyFiles(BadRequest):
    code = "too_many_files"
    status = 413
    remedy = "Attach fewer, or ask about the others in the next question."
    user_remedy = remedy

    def __init__(self, files: int, limit: int) -> None:
        super().__init__(f"{files} files are attached to one question; at most {limit} can be")


class ModerationRefused(BadRequest):
    code = "moderation_refused"
    remedy = "Put the question differently."
    user_remedy = remedy

    def __init__(self, categories: list[str]) -> None:
        super().__init__(f"the moderation check refused the question: {', '.join(categories)}")


class StillAnswering(BadRequest):
    code = "still_answering"
    status = 409
    remedy = "Wait for it, or stop it with its button or with Esc; what you have typed stays."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("an answer is still running, so the question was not sent")


class CannotContinue(BadRequest):
    code = "cannot_continue"
    remedy = "Ask for the rest in words of your own, or regenerate with more Max tokens."
    user_remedy = remedy

    def __init__(self, model: str) -> None:
        super().__init__(f"the worker of {model!r} cannot go on with an answer that was cut")


class ConversationUnknown(BadRequest):
    code = "conversation_unknown"
    status = 404
    remedy = "Check the address; otherwise begin a new one: this one may have been deleted."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("this server keeps no conversation under this address")


class SglangRefused(BadRequest):
    code = "sglang_refused"

    def __init__(self, message: str) -> None:
        super().__init__(f"SGLang refuses the request: {message}")


class RegistrationRefused(BadRequest):
    code = "registration_refused"
    status = 403
    remedy = "Give the worker the controller's --cluster-token-file and a --worker it can reach."
    user_told = "a model could not be added"


class Unavailable(ServeError):
    code = "unavailable"
    number = 2
    status = 503
    remedy = "Try again in a moment."
    user_remedy = remedy


class NoWorker(Unavailable):
    code = "no_worker"
    headers = ASK_ANOTHER
    remedy = (
        "If its worker is just starting, try again in a moment; otherwise start one, or choose a "
        "model that GET /v1/models lists."
    )
    user_told = "the model is not available at the moment"
    user_remedy = (
        "If the model is just starting, try again in a moment; otherwise choose another one."
    )

    def __init__(self, model: str) -> None:
        super().__init__(f"no live worker serves {model!r}")


class WorkerUnreachable(Unavailable):
    code = "worker_unreachable"
    number = 4
    remedy = "Try again: the worker is out of dispatch until it answers."
    user_told = "the model does not answer at the moment"
    headers = _not_answered(LOST)

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"the worker does not answer: {reason}")
        self.address = address


class WorkerLost(Unavailable):
    code = "worker_lost"
    number = 4
    status = 502
    remedy = "What was answered so far is valid; ask again to continue or retry."
    user_told = "the model stopped in the middle of its answer"
    user_remedy = remedy
    headers = _not_answered(LOST)  # seen only where nothing was answered

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"the worker was lost in mid-answer: {reason}")
        self.address = address


class WorkersLost(Unavailable):
    """Ends the way of a request through the cluster: it may be what the workers die of."""

    code = "workers_lost"
    number = 1
    status = 502
    remedy = "If the request is an unusual one, change it; otherwise try again in a moment."
    user_told = "the model stopped again and again before it answered this question"
    user_remedy = remedy.replace("request", "question")

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} workers were lost one after the other before they answered this request; "
            "it is given to no further one"
        )


class ControllerUnreachable(Unavailable):
    code = "controller_unreachable"
    remedy = "Start it with `python -m llava_serve.controller`, or correct --controller."
    user_told = "the page cannot reach the models at the moment"
    user_remedy = (
        "Try again in a moment. If it stays so, tell whoever runs this page that no model answers."
    )

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"no controller answers at {address}: {reason}")


class TooManyConnections(Unavailable):
    code = "too_many_connections"
    remedy = "Close connections that are not needed, and try again in a moment."
    user_told = "more people use the page than it has room for"
    user_remedy = "Try again in a moment."

    def __init__(self) -> None:
        super().__init__("this process has as many connections as it can hold")


class ControllerLost(Unavailable):
    code = "controller_lost"
    status = 502
    remedy = (
        "What was answered so far is valid; ask again. If nobody answers then, start the "
        "controller anew."
    )
    user_told = "the connection to the models was lost in mid-answer"
    user_remedy = "What was answered so far stays: ask again, or continue, in a moment."

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"the controller at {address} was lost in mid-answer: {reason}")


class AnswerInterrupted(Unavailable):
    code = "answer_interrupted"
    remedy = "What had arrived is kept: continue it, or ask again."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("the page's server stopped in the middle of this answer")


class Busy(Unavailable):
    code = "busy"
    status = 429
    headers = _not_answered(BUSY)
    remedy = "Wait as long as Retry-After says, or add a worker for the model."
    user_told = "everybody's questions together are more than the model can take at the moment"
    user_remedy = "Wait a few seconds, then try again."

    def __init__(
        self, running: int, waiting: int, asked: int, places: int, retry_after_s: int = 1
    ) -> None:
        """Tell that `running` and `waiting` answers leave less than `asked` of so many `places`."""
        super().__init__(
            f"answers that are made: {running}, that wait: {waiting}, that this request asks for: "
            f"{asked}; the worker has places for {places}"
        )
        self.headers = {**Busy.headers, "Retry-After": str(retry_after_s)}


class SglangUnreachable(Unavailable):
    code = "sglang_unreachable"
    headers = ASK_ANOTHER
    remedy = "Start the server, or correct --sgl-endpoint; the worker joins once it is ready."
    user_told = "the model is not ready"

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"no SGLang server is ready: {reason}")
        self.endpoint = endpoint
        self.reason = reason


class SglangLost(Unavailable):
    code = "sglang_lost"
    number = 4
    status = 502
    remedy = "What was answered so far is valid; ask again once the server is back."
    user_told = "the model stopped in the middle of its answer"
    user_remedy = "What was answered so far is valid; ask again in a moment."
    headers = _not_answered(LOST)  # seen only where nothing was answered

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"the SGLang server was lost in mid-answer: {reason}")
        self.endpoint = endpoint


class SglangBusy(Unavailable):
    code = "sglang_busy"
    headers = _not_answered(BUSY)

    def __init__(self, message: str) -> None:
        super().__init__(f"SGLang takes no more requests for the moment: {message}")


class ModerationUnavailable(Unavailable):
    code = "moderation_unavailable"
    remedy = "Try again; the operator can check --moderation-key-file and the network."
    user_told = "the question could not be checked, and so it was not asked"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the question was not checked, and so not asked: {reason}")


class ShuttingDown(Unavailable):
    code = "shutting_down"
    headers = ASK_ANOTHER
    remedy = "Try again: another worker, or this one after its restart, takes the request."
    user_told = "the model is about to stop and takes no new questions"

    def __init__(self) -> None:
        super().__init__("this process is stopping and takes no new requests")


class Interrupted(Unavailable):
    code = "interrupted"
    headers = ASK_ANOTHER
    remedy = "What was answered so far is valid; ask again to continue or retry."
    user_told = "the server was stopped in the middle of the answer"
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("the answer was cut: a process on its way was told to stop")


class EngineFailure(ServeError):
    code = "engine_failure"
    user_told = "the server failed at this question"


class EngineLost(EngineFailure):
    code = "engine_lost"
    number = 4
    status = 503
    headers = _not_answered(LOST)
    remedy = "Try again: the worker leaves the cluster, and its supervisor starts it anew."
    user_told = "the model stopped and is being started anew"
    user_remedy = "Ask again in a moment."


class OutOfMemory(EngineFailure):
    code = "out_of_memory"
    number = 5
    status = 503
    remedy = "Send fewer or smaller pictures, or start the worker with a lower concurrency."
    user_told = "the question needs more memory than the model has left"
    user_remedy = "Send fewer or smaller pictures, or a shorter conversation."

    @classmethod
    def of_process(cls) -> "OutOfMemory":
        """Return what a request is told that the process itself has no memory for."""
        return cls("the process has no memory left for this request")


class SglangFailed(EngineFailure):
    code = "sglang_failed"
    remedy = "Look into the log of the SGLang server at this time."

    def __init__(self, message: str) -> None:
        super().__init__(f"SGLang failed: {message}")


class StorageFailed(ServeError):
    code = "storage_failed"
    remedy = "Check --state-dir and --database: the place must exist, be writable and not be full."
    user_told = "the server cannot keep or read conversations and pictures at the moment"


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


class RemoteError(ServeError):
    """An error that another process answered with, kept whole."""

    def __init__(self, message: str, code: str, status: int, remedy: str) -> None:
        super().__init__(message)
        self.code, self.status, self.remedy = code, status, remedy
        if status == _PASSES:
            self.headers = {_RETRY_AFTER: "1"}
        known = _class_of(code)
        if known is None:  # the remedy is of another program: who it is for is not known
            known = BadRequest if status < 500 else Unavailable
        self.user_told, self.user_remedy = known.user_told, known.user_remedy

    @classmethod
    def from_body(cls, body: Any, status: int) -> "RemoteError":
        """Read `as_body`'s shape; any other body becomes the message, cut to 500 characters."""
        error = body.get("error") if isinstance(body, dict) else None
        if not isinstance(error, dict):
            error = {"message": str(body)[:500]}
        message, code = error.get("message") or "no message", error.get("code") or "unknown"
        return cls(str(message), str(code), status, str(error.get("remedy") or ServeError.remedy))


def not_answered(code: str) -> str | None:
    """Return the value of `NOT_ANSWERED` that goes with a code; None: it was answered.

    For streams, whose headers are out when an error comes: before any text the code says as much.
    """
    known = _class_of(code)
    return None if known is None else known.headers.get(NOT_ANSWERED)


def _class_of(code: str, root: type[ServeError] = ServeError) -> type[ServeError] | None:
    """Return the class whose own code this is."""
    if vars(root).get("code") == code:
        return root
    found = (_class_of(code, kind) for kind in root.__subclasses__())
    return next(filter(None, found), None)
