"""Errors between processes: a worker or controller is unreachable, busy, lost or stopping."""

from typing import Any, ClassVar, Self

from llava_serve.errors.base import (
    ASK_ANOTHER,
    BUSY,
    LOST,
    RETRY_AFTER,
    RETRYABLE,
    BadRequest,
    ServeError,
    Unavailable,
    class_of,
    not_answered_headers,
)


class RegistrationRefused(BadRequest):
    """The worker may not join; the message says why."""

    code = "registration_refused"
    status = 403
    remedy = "Give the worker the controller's --cluster-token-file and a --worker it can reach."
    user_told = "a model could not be added"


class NoSuchWorker(BadRequest):
    """An operator names a worker that the controller does not know."""

    code = "worker_not_found"
    status = 404
    remedy = "GET /admin/workers lists the ids and addresses."
    user_told = "there is no such model server"

    def __init__(self, worker_id: str) -> None:
        super().__init__(f"no worker has the id or the address {worker_id!r}")


class NoWorker(Unavailable):
    """No live worker serves the model."""

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


class WorkerUnchecked(NoWorker):
    """No worker of the model may take pictures before it was asked whether it sees."""

    code = "worker_unchecked"
    remedy = "Try again in a moment: a worker that has just joined is asked about two pictures."
    user_told = "the model has just started, and is not ready for pictures yet"
    user_remedy = "Try again in a moment."

    def __init__(self, model: str) -> None:
        super(NoWorker, self).__init__(f"no worker of {model!r} has been checked for sight yet")


class OnlyBlindWorkers(NoWorker):
    """No worker of the model sees what is in pictures."""

    code = "only_blind_workers"
    remedy = (
        "Restart its workers with an intact checkpoint; GET /workers has the reason of each. Text "
        "alone is answered; the controller's --serve-blind lets pictures through."
    )
    user_told = "the model cannot look at pictures at the moment"
    user_remedy = "Ask without a picture, or choose another model."

    def __init__(self, model: str, reason: str) -> None:
        """`reason` is of one of the workers."""
        super(NoWorker, self).__init__(f"no live worker of {model!r} sees pictures: {reason}")


class WorkerUnreachable(Unavailable):
    """The chosen worker does not answer."""

    code = "worker_unreachable"
    number = 4
    remedy = "Try again: the worker is out of dispatch until it answers."
    user_told = "the model does not answer at the moment"
    headers = not_answered_headers(LOST)

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"the worker does not answer: {reason}")
        self.address = address


class WorkerLost(Unavailable):
    """The worker died in mid-answer."""

    code = "worker_lost"
    number = 4
    status = 502
    remedy = "What was answered so far is valid; ask again to continue or retry."
    user_told = "the model stopped in the middle of its answer"
    user_remedy = remedy
    headers = not_answered_headers(LOST)  # seen only where nothing was answered

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"the worker was lost in mid-answer: {reason}")
        self.address = address


class EventTooLarge(Unavailable):
    """A stream of server-sent events holds one that no server of this API would send."""

    code = "event_too_large"
    status = 502
    remedy = "Ask again; if it happens again, the server that was asked does not speak this API."
    user_told = "the model stopped in the middle of its answer"
    user_remedy = "Ask again; what was answered so far stays."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the answer holds an event larger than {limit_bytes / 1e6:g} MB")


class AnswerTimeout(Unavailable):
    """A request that is not streamed took too long; no other worker is asked, it would too."""

    code = "answer_timeout"
    number = 1
    status = 504
    remedy = (
        "Ask for a stream, which has no such limit, or for fewer tokens; or start the controller "
        "with a longer --answer-timeout."
    )
    user_told = "the answer took too long"
    user_remedy = "Ask for a shorter answer, or try again in a moment."

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the whole answer was not there within {limit_s:g} s")


class WorkersLost(Unavailable):
    """Several workers were lost with one request; no other is asked, it may be the cause."""

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
    """Nobody answers at the controller's address."""

    code = "controller_unreachable"
    said: ClassVar[str] = "no controller answers at"
    remedy = "Start it with `python -m llava_serve.controller`, or correct --controller."
    user_told = "the page cannot reach the models at the moment"
    user_remedy = (
        "Try again in a moment. If it stays so, tell whoever runs this page that no model answers."
    )

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{self.said} {address}: {reason}")
        self.address, self.reason = address, reason


class ControllerUntrusted(ControllerUnreachable):
    """The controller is there, and no TLS connection to it can be made or trusted."""

    code = "controller_untrusted"
    remedy = "Correct --ca-file, the address, or the certificate of the controller."
    said = "no controller can be asked at"


class ControllerLost(Unavailable):
    """The controller died in mid-answer."""

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


class Busy(Unavailable):
    """Every slot and every waiting place is taken."""

    code = "busy"
    status = 429
    headers = not_answered_headers(BUSY)
    remedy = "Wait as long as Retry-After says, or add a worker for the model."
    user_told = "everybody's questions together are more than the model can take at the moment"
    user_remedy = "Wait a few seconds, then try again."

    def __init__(self, running: int, waiting: int, requested: int, capacity: int) -> None:
        """All counts are of answers; `capacity` is slots and line together."""
        super().__init__(
            f"answers that are made: {running}, that wait: {waiting}, that this request asks for: "
            f"{requested}; the worker has places for {capacity}"
        )


class ShuttingDown(Unavailable):
    """The process is about to stop."""

    code = "shutting_down"
    headers = ASK_ANOTHER
    remedy = "Try again: another worker, or this one after its restart, takes the request."
    user_told = "the model is about to stop and takes no new questions"

    def __init__(self) -> None:
        super().__init__("this process is stopping and takes no new requests")


class Interrupted(Unavailable):
    """The process stopped before the answer was complete."""

    code = "interrupted"
    headers = ASK_ANOTHER
    remedy = "What was answered so far is valid; ask again to continue or retry."
    user_told = "the server was stopped in the middle of the answer"
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("the answer was cut: a process on its way was told to stop")


class RemoteError(ServeError):
    """An error that another process answered with, kept whole.

    `kind` is the class of its code, or the nearest one where the code is of another program.
    """

    param: str | None = None  # the field of the request that it is about
    request_id: str | None = None

    def __init__(self, message: str, code: str, status: int, remedy: str) -> None:
        super().__init__(message)
        self.code, self.status, self.remedy = code, status, remedy
        if status == RETRYABLE:
            self.headers = {RETRY_AFTER: "1"}
        known = class_of(code)
        if known is None:  # the remedy is of another program: who it is for is not known
            known = BadRequest if status < 500 else Unavailable
        self.kind = known
        self.user_told, self.user_remedy = known.user_told, known.user_remedy

    @classmethod
    def from_body(cls, body: Any, status: int) -> Self:
        """Read `as_body`'s shape; any other body becomes the message, cut to 500 characters."""
        error = body.get("error") if isinstance(body, dict) else None
        if not isinstance(error, dict):
            error = {"message": str(body)[:500]}
        message, code = str(error.get("message") or "no message"), error.get("code") or "unknown"
        remedy = str(error.get("remedy") or ServeError.remedy)
        if message.endswith(f" {remedy}"):
            message = message.removesuffix(f" {remedy}").removesuffix(".")
        told = cls(message, str(code), status, remedy)
        told.param, told.request_id = error.get("param"), error.get("request_id")
        return told
