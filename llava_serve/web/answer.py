"""One answer: what has arrived of it, how it ended, how long it took."""

from dataclasses import dataclass, field
from typing import Any, Literal

from openai.types.chat import ChatCompletionChunk

from llava_serve import logs
from llava_serve.errors import ServeError

State = Literal["waiting", "running", "done", "stopped", "failed"]


@dataclass
class Answer:
    """Times are seconds on a monotonic clock; token counts are None until the worker says them."""

    model: str
    request_id: str = field(default_factory=logs.new_request_id)
    text: str = ""
    state: State = "waiting"
    finish_reason: str | None = None
    error: ServeError | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    began: float = 0.0
    first_delta: float | None = None
    ended: float | None = None
    turn_id: int | None = None  # its row in the database, once it is there

    def begin(self, now: float) -> None:
        """Start, or start again after what has arrived already (a continuation)."""
        self.began, self.first_delta, self.ended = now, None, None
        self.state, self.error, self.finish_reason = "running", None, None
        self.prompt_tokens, self.completion_tokens = None, None
        self.request_id = logs.new_request_id()

    def take(self, chunk: ChatCompletionChunk, now: float) -> None:
        for choice in chunk.choices:
            if choice.delta.content:
                if self.first_delta is None:
                    self.first_delta = now
                self.text += choice.delta.content
            self.finish_reason = choice.finish_reason or self.finish_reason
        if chunk.usage is not None:
            self.prompt_tokens = chunk.usage.prompt_tokens
            self.completion_tokens = chunk.usage.completion_tokens

    def end(self, state: State, now: float, error: ServeError | None = None) -> None:
        self.state, self.error, self.ended = state, error, now

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "running")

    @property
    def can_continue(self) -> bool:
        """Whether there is text, and more of it was to be expected."""
        cut = self.state in ("failed", "stopped") or self.finish_reason == "length"
        return bool(self.text) and cut and not self.is_open

    @property
    def time_to_first_token_s(self) -> float | None:
        return None if self.first_delta is None else self.first_delta - self.began

    @property
    def tokens_per_s(self) -> float | None:
        """Decode speed: the first token belongs to the prefill."""
        if self.completion_tokens is None or self.first_delta is None or self.ended is None:
            return None
        spent_s = self.ended - self.first_delta
        further = self.completion_tokens - 1
        return further / spent_s if further > 0 and spent_s > 0 else None

    def details(self) -> dict[str, Any]:
        """Return what is kept beside the text, as JSON."""
        facts: dict[str, Any] = {
            "state": self.state,
            "finish_reason": self.finish_reason,
            "request_id": self.request_id,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "time_to_first_token_s": self.time_to_first_token_s,
            "tokens_per_s": self.tokens_per_s,
        }
        if self.error is not None:
            facts["error"] = {"code": self.error.code, "message": self.error.message}
        return facts
