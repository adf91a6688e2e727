"""Streamed reply: what has arrived of it, how it ended, how long it took, and how to stop it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from openai.types.chat import ChatCompletionChunk

from llava_serve import logs
from llava_serve.errors import (
    ContextOverflow,
    MediaNotAccepted,
    MediaTooLarge,
    MediaUnreadable,
    ServeError,
    TextTooLarge,
)
from llava_serve.protocol.line_place import LinePlace
from llava_serve.web.compare.fingerprint import Fingerprint
from llava_serve.web.inspection.probabilities import MOST_TOKENS, ToldToken, told_by
from llava_serve.web.parameters import Parameters

State = Literal["waiting", "running", "done", "stopped", "failed"]
Vote = Literal["up", "down", "flag"]

# What is wrong with a question's own files is as wrong in every request that brings them again,
# and what does not fit into the context fits no better with the next question after it.
_REFUSED: Mapping[str, Literal["files", "length"]] = {
    **dict.fromkeys((MediaUnreadable.code, MediaTooLarge.code, MediaNotAccepted.code), "files"),
    **dict.fromkeys((ContextOverflow.code, TextTooLarge.code), "length"),
}
_BURST_S = 0.02  # chunks this close to the first one waited somewhere on their way
_TIMED_S = 0.1  # below this the clock of an event loop measures itself


@dataclass
class StreamedReply:
    """Times are seconds on a monotonic clock; token counts are None until the worker says them."""

    model: str
    request_id: str = field(default_factory=logs.new_request_id)
    text: str = ""
    state: State = "waiting"
    finish_reason: str | None = None
    error: ServeError | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None  # of the prompt, which another request had left
    asked: Parameters = field(default_factory=Parameters)
    tokens: list[ToldToken] = field(default_factory=list)  # where it was asked to tell them
    given: int = 0  # characters of the text that were there when it was asked for
    place: LinePlace | None = None  # while it waits in line
    began: float = 0.0
    ended: float | None = None
    first_delta: float | None = None
    last_delta: float | None = None
    deltas: int = 0
    deltas_at_first: int = 0  # those that came together with the first one
    tokens_per_s: float | None = None  # known when the answer has ended
    turn_id: int | None = None  # its row in the database, once it is there
    is_unsaved: bool = True  # whether more is known of it than its row says
    vote: Vote | None = None
    fingerprint: Fingerprint | None = None  # of what its model was asked, in a comparison

    def begin(self, now: float) -> None:
        """Say that its request is on its way."""
        self.began, self.state = now, "running"

    def take(self, chunk: ChatCompletionChunk, now: float) -> None:
        """Append what a chunk brings."""
        self.place = None
        for choice in chunk.choices:
            if choice.delta.content:
                self._time(now)
                self.text += choice.delta.content
            self.finish_reason = choice.finish_reason or self.finish_reason
        if len(self.tokens) < MOST_TOKENS:
            self.tokens += told_by(chunk)
        if chunk.usage is not None:
            self.prompt_tokens = chunk.usage.prompt_tokens
            self.completion_tokens = chunk.usage.completion_tokens
            if (told := chunk.usage.prompt_tokens_details) is not None:
                self.cached_tokens = told.cached_tokens

    def _time(self, now: float) -> None:
        if self.first_delta is None:
            self.first_delta = now
        if now - self.first_delta <= _BURST_S:
            self.deltas_at_first += 1
        self.deltas, self.last_delta = self.deltas + 1, now

    def end(self, state: State, now: float, error: ServeError | None = None) -> None:
        """End the reply; with `error` it has failed."""
        self.state, self.ended, self.error = state, now, error
        self.tokens_per_s = self._speed()

    @property
    def is_open(self) -> bool:
        """Whether more is to come."""
        return self.state in ("waiting", "running")

    @property
    def can_continue(self) -> bool:
        """Whether there is text, and more of it was to be expected."""
        cut = self.state in ("failed", "stopped") or self.finish_reason == "length"
        return bool(self.text) and cut and not self.is_open

    @property
    def refused(self) -> Literal["files", "length"] | None:
        """What of its question was refused, and would be with those that follow.

        The code decides: an error of a worker, or of the database, has no class of its own.
        """
        if self.text or self.error is None:
            return None
        return _REFUSED.get(self.error.code)

    @property
    def time_to_first_token_s(self) -> float | None:
        """How long the first delta was waited for; None before it."""
        return None if self.first_delta is None else self.first_delta - self.began

    def _speed(self) -> float | None:
        """Return the decode speed, or None where it was not timed.

        Only what came after the first chunk was waited for while a clock ran; what came together
        with the first had been made before. A chunk holds about as many tokens as any other.
        """
        if self.completion_tokens is None or self.first_delta is None or self.last_delta is None:
            return None
        spent_s = self.last_delta - self.first_delta
        timed = self.deltas - self.deltas_at_first
        if spent_s < _TIMED_S or timed == 0:
            return None
        return self.completion_tokens * timed / self.deltas / spent_s

    def details(self) -> dict[str, Any]:
        """Return what is kept beside the text, as JSON."""
        facts: dict[str, Any] = {
            "state": self.state,
            "finish_reason": self.finish_reason,
            "request_id": self.request_id,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cached_tokens": self.cached_tokens,
            "given": self.given,
            "time_to_first_token_s": self.time_to_first_token_s,
            "tokens_per_s": self.tokens_per_s,
            "duration_s": None if self.ended is None else self.ended - self.began,
        }
        if self.tokens and not self.is_open:
            facts["tokens"] = [token.kept() for token in self.tokens]
        if self.fingerprint is not None:
            facts["fingerprint"] = self.fingerprint.as_json()
        if self.error is not None:
            kept = ("code", "message", "remedy")
            facts["error"] = {name: getattr(self.error, name) for name in kept}
        return facts


class ReplyHandle:
    """The handle of a question's replies, from its place in the line to their end."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task
        self._is_stopped = False
        self.reason: ServeError | None = None

    def stop(self, reason: ServeError | None = None) -> None:
        """Close every stream; the workers behind them become free.

        With a reason the replies have failed by it; without one the user has stopped them. Only
        the first stop counts: a second one would break off what the first has begun to close.
        """
        if not self._is_stopped:
            self._is_stopped, self.reason = True, reason
            self._task.cancel()

    async def ended(self, interval_s: float) -> AsyncGenerator[None]:
        """Yield at intervals until every reply has ended; raises what the work has raised."""
        while (await asyncio.wait({self._task}, timeout=interval_s))[1]:  # those not done
            yield
        if not self._task.cancelled():
            self._task.result()
