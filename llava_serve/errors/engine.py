"""Engine errors, and errors of an SGLang server behind an engine."""

from types import MappingProxyType
from typing import Self

from llava_serve.errors.base import (
    ASK_ANOTHER,
    BUSY,
    DECLINED,
    LOST,
    NOT_ANSWERED,
    BadRequest,
    EngineFailure,
    Unavailable,
    not_answered_headers,
)
from llava_serve.errors.prompt import ContextOverflow


class EngineLost(EngineFailure):
    """The engine failed for good, and its worker with it."""

    code = "engine_lost"
    number = 4
    status = 503
    headers = not_answered_headers(LOST)
    remedy = "Try again: the worker leaves the cluster, and its supervisor starts it anew."
    user_told = "the model stopped and is being started anew"
    user_remedy = "Ask again in a moment."


class OutOfMemory(EngineFailure):
    """The request needs more memory than the device has."""

    code = "out_of_memory"
    number = 5
    status = 503
    remedy = "Send fewer or smaller pictures, or start the worker with a lower concurrency."
    user_told = "the question needs more memory than the model has left"
    user_remedy = "Send fewer or smaller pictures, or a shorter conversation."

    @classmethod
    def of_process(cls) -> Self:
        """Return the error of a request for which the process itself has no memory."""
        return cls("the process has no memory left for this request")


class InspectionUnsupported(BadRequest):
    """The model runs where nobody can see what becomes of a request."""

    code = "inspection_unsupported"
    headers = MappingProxyType({NOT_ANSWERED: DECLINED})  # a worker that can may be asked
    remedy = "Serve the model with python -m llava_serve.model_worker as well, and ask again."
    user_told = "what this model sees cannot be shown"
    user_remedy = "Choose another model; its answers are not affected."

    def __init__(self, model: str) -> None:
        super().__init__(
            f"{model!r} cannot be inspected: it runs in an SGLang server, which renders prompts, "
            "cuts tiles and keeps its caches in a process of its own and tells none of it"
        )


class SglangRefused(BadRequest):
    """The SGLang server finds the request wrong."""

    code = "sglang_refused"

    def __init__(self, message: str) -> None:
        super().__init__(f"SGLang refuses the request: {message}")


class SglangUnreachable(Unavailable):
    """No SGLang server is ready behind the worker."""

    code = "sglang_unreachable"
    headers = ASK_ANOTHER
    remedy = "Start the server, or correct --sgl-endpoint; the worker joins once it is ready."
    user_told = "the model is not ready"

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"no SGLang server is ready: {reason}")
        self.endpoint = endpoint
        self.reason = reason


class SglangLost(Unavailable):
    """The SGLang server died in mid-answer."""

    code = "sglang_lost"
    number = 4
    status = 502
    remedy = "What was answered so far is valid; ask again once the server is back."
    user_told = "the model stopped in the middle of its answer"
    user_remedy = "What was answered so far is valid; ask again in a moment."
    headers = not_answered_headers(LOST)  # seen only where nothing was answered

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"the SGLang server was lost in mid-answer: {reason}")
        self.endpoint = endpoint


class SglangBusy(Unavailable):
    """The SGLang server takes no more requests for the moment."""

    code = "sglang_busy"
    headers = not_answered_headers(BUSY)

    def __init__(self, message: str) -> None:
        super().__init__(f"SGLang takes no more requests for the moment: {message}")


class SglangFailed(EngineFailure):
    """The SGLang server failed at a request that should be fine."""

    code = "sglang_failed"
    remedy = "Look into the log of the SGLang server at this time."

    def __init__(self, message: str) -> None:
        super().__init__(f"SGLang failed: {message}")


class LlavaWorkerFailed(EngineFailure):
    """A worker of LLaVA's own protocol answers with an error."""

    code = "llava_worker_failed"
    status = 502
    remedy = (
        "Look into that worker's log: it tells everybody the same. It may be a picture that it "
        "cannot read, or too long a conversation."
    )

    def __init__(self, text: str) -> None:
        super().__init__(f"the worker, one of LLaVA's own, says: {text[:500]}")


class LlavaWorkerFull(ContextOverflow):
    """A worker of LLaVA's own protocol has no room for an answer behind the prompt."""

    def __init__(self) -> None:
        BadRequest.__init__(
            self, "the worker, one of LLaVA's own, says that the prompt fills its context"
        )
