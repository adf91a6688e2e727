"""Events of SGLang's streams become deltas: new text only, whichever way the server streams."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from llava_serve.chat.stops import StopMatcher
from llava_serve.engines.base import Delta, FinishReason, TokenLogprob, Usage
from llava_serve.engines.sglang.client import Event
from llava_serve.engines.sglang.failure import error_for
from llava_serve.errors import SglangFailed

_NO_END = "its stream is over, and does not say how the answer ended"
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


async def of_chat(events: AsyncIterable[Event], stops: Sequence[str] = ()) -> AsyncGenerator[Delta]:
    """Read `/v1/chat/completions`: deltas, the reason of the end, and then the usage."""
    answer = _Answer(stops)
    reason: FinishReason | None = None
    has_ended = False
    async for event in events:
        for choice in event["choices"]:
            told = (choice.get("logprobs") or {}).get("content") or ()
            answer.score(map(_chat_logprob, told))
            if delta := answer.feed(choice["delta"].get("content") or ""):
                yield delta
            if choice["finish_reason"] is not None:
                reason = _reason(choice["finish_reason"])
        if event.get("usage") and reason is not None:
            has_ended = True
            yield answer.end(reason, _chat_usage(event["usage"]))
    if not has_ended:
        raise SglangFailed(_NO_END)


async def of_generate(
    events: AsyncIterable[Event], streams_deltas: bool, stops: Sequence[str] = ()
) -> AsyncGenerator[Delta]:
    """Read `/generate`, whose events tell all text so far unless `streams_deltas`."""
    answer, shown = _Answer(stops), ""
    seen = 0  # tokens whose logprobs were passed on
    has_ended = False
    async for event in events:
        about = event["meta_info"]
        logprobs = _logprobs(about, seen)
        seen += len(logprobs)
        end = about["finish_reason"]
        if end is not None and end["type"] == "abort":
            raise error_for(str(end.get("message")), end.get("status_code") or 500)
        if end is not None and isinstance(end.get("matched"), int):
            logprobs = logprobs[:-1]  # of the token that ended the answer
        answer.score(logprobs)
        text = event["text"]
        if not streams_deltas:
            if not text.startswith(shown):
                raise SglangFailed(_NO_CONTINUATION)
            shown, text = text, text[len(shown) :]
        if delta := answer.feed(text):
            yield delta
        if end is not None:
            has_ended = True
            yield answer.end(_reason(end["type"]), _usage(about))
    if not has_ended:
        raise SglangFailed(_NO_END)


class _Answer:
    """Holds back text that may become a stop string, and logprobs until their text is shown.

    The server is asked to leave the stop string in: cut by itself, the answer would lack only what
    was not streamed yet.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._matcher = StopMatcher(stops)
        self._logprobs: list[TokenLogprob] = []

    def score(self, logprobs: Iterable[TokenLogprob]) -> None:
        """Take the logprobs of the text that `feed` is given next."""
        self._logprobs.extend(logprobs)

    def feed(self, text: str) -> Delta | None:
        """Take new text and return what of it may be shown."""
        return self._delta(self._matcher.feed(text))

    def end(self, reason: FinishReason, usage: Usage) -> Delta:
        """Return the last delta."""
        last = self._delta(self._matcher.flush()) or Delta()
        reason = "stop" if self._matcher.stopped else reason
        return replace(last, finish_reason=reason, usage=usage)

    def _delta(self, text: str) -> Delta | None:
        if not text:
            return None
        logprobs, self._logprobs = tuple(self._logprobs), []
        return Delta(text, logprobs=logprobs)


_NO_CONTINUATION = (
    "its stream is no continuation of what came before; a server behind a router must run "
    "without --incremental-streaming-output"
)


def _reason(name: str) -> FinishReason:
    if name not in _REASONS:
        raise SglangFailed(f"it ended the request itself ({name})")
    return _REASONS[name]


def _chat_usage(told: dict[str, Any]) -> Usage:
    return _usage(told | (told.get("prompt_tokens_details") or {}))


def _usage(told: dict[str, Any]) -> Usage:
    return Usage(
        told["prompt_tokens"],
        told["completion_tokens"],
        image_tokens=told.get("image_tokens") or 0,
        cached_tokens=told.get("cached_tokens") or 0,
    )


def _chat_logprob(told: dict[str, Any]) -> TokenLogprob:
    data = told.get("bytes")
    return TokenLogprob(
        told["token"],
        told["token"].encode() if data is None else bytes(data),
        told["logprob"],
        tuple(map(_chat_logprob, told.get("top_logprobs") or ())),
    )


def _logprobs(about: dict[str, Any], seen: int) -> list[TokenLogprob]:
    """Return the logprobs beyond the first `seen` tokens; each is told as [logprob, id, text]."""
    chosen = about.get("output_token_logprobs") or []
    likely = about.get("output_top_logprobs") or [[]] * len(chosen)
    first = about.get("output_token_logprobs_length", len(chosen)) - len(chosen)
    return [
        replace(_logprob(*token), top=tuple(_logprob(*other) for other in top or ()))
        for at, (token, top) in enumerate(zip(chosen, likely, strict=True), first)
        if at >= seen
    ]


def _logprob(logprob: float, _: int, text: str) -> TokenLogprob:
    return TokenLogprob(text, text.encode(), logprob)
