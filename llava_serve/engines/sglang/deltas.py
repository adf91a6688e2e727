"""Events of SGLang's streams become deltas: new text only, whichever way the server streams."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from llava_serve.chat.stops import StopMatcher
from llava_serve.engines.logprobs import LogprobBuffer
from llava_serve.engines.sglang.client import Event
from llava_serve.engines.sglang.failure import error_for
from llava_serve.errors import SglangFailed
from llava_serve.request import Delta, FinishReason, TokenLogprob, Usage
from llava_serve.tools import ToolCallDelta

_NO_END = "its stream is over, and does not say how the answer ended"
_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
}


async def of_chat(
    events: AsyncIterable[Event], stops: Sequence[str] = (), is_parallel: bool = True
) -> AsyncGenerator[Delta]:
    """Read `/v1/chat/completions`: deltas, the reason of the end, and then the usage.

    Text with logprobs waits for the next event, which may say that a token ended the answer. Unless
    `is_parallel` only the first call is told.

    Raises:
        SglangFailed: the server sends what cannot be read, or does not end the answer.
    """
    builder = _DeltaBuilder(stops)
    read = partial(_parse_chat, calls=_StreamedCalls(is_parallel))
    waiting: _ParsedEvent | None = None
    reason: FinishReason | None = None
    has_ended = False
    async for event in events:
        parsed = _parse(read, event)
        if waiting is not None:
            logprobs = _without_end(waiting) if parsed.is_token_end else waiting.logprobs
            if delta := builder.feed(waiting.text, logprobs, waiting.usage):
                yield delta
        if parsed.tool_calls:
            yield builder.call(parsed.tool_calls, parsed.usage)
        if parsed.end is not None:
            reason = _reason(parsed.end)
            if delta := builder.cut(parsed.stop):
                yield delta
        waiting = parsed if parsed.logprobs and parsed.end is None else None
        if waiting is None and (delta := builder.feed(parsed.text, parsed.logprobs, parsed.usage)):
            yield delta
        if parsed.is_total and parsed.usage is not None and reason is not None:
            has_ended = True
            yield builder.end(reason, parsed.usage)
    if not has_ended:
        raise SglangFailed(_NO_END)


async def of_generate(
    events: AsyncIterable[Event], streams_deltas: bool, stops: Sequence[str] = ()
) -> AsyncGenerator[Delta]:
    """Read `/generate`, whose events tell all text so far unless `streams_deltas`.

    Raises:
        SglangFailed: the server sends what cannot be read, or does not end the answer.
        ServeError: what the server says why it ended the request itself.
    """
    builder, shown = _DeltaBuilder(stops), ""
    seen = 0  # tokens whose logprobs were passed on
    has_ended = False
    async for event in events:
        parsed = _parse(partial(_parse_generate, seen=seen), event)
        seen += len(parsed.logprobs)
        logprobs = parsed.logprobs[:-1] if parsed.is_token_end else parsed.logprobs
        text = parsed.text
        if not streams_deltas:
            if not text.startswith(shown):
                raise SglangFailed(_NO_CONTINUATION)
            shown, text = text, text[len(shown) :]
        if delta := builder.feed(text, logprobs, parsed.usage):
            yield delta
        if parsed.end is not None and parsed.usage is not None:
            has_ended = True
            yield builder.end(_reason(parsed.end), parsed.usage)
    if not has_ended:
        raise SglangFailed(_NO_END)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ParsedEvent:
    """One event; the last one with text has an `end`, the reason, which may be a token.

    `usage` is what was used so far; of a chat `is_total` says that it stands for the whole answer.
    `stop` is the stop string that ended it.
    """

    text: str
    logprobs: list[TokenLogprob]
    end: str | None
    is_token_end: bool
    usage: Usage | None
    is_total: bool = False
    stop: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()


def _parse(read: Callable[[Event], _ParsedEvent], event: Event) -> _ParsedEvent:
    """Read an event, or raise SglangFailed where SGLang was not seen to send such a one."""
    try:
        return read(event)
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        raise SglangFailed(f"its stream holds an event that cannot be read ({exc!r})") from exc


class _StreamedCalls:
    """Numbers the calls of one answer as they come: some of SGLang's parsers number tools."""

    def __init__(self, is_parallel: bool) -> None:
        self._is_parallel = is_parallel
        self._numbers: dict[int, int] = {}  # by the server's own
        self._num_calls = 0

    def read(self, told: Iterable[Any]) -> Iterator[ToolCallDelta]:
        """Yield what is new; of the first call only, unless there may be several."""
        for call in told:
            if call.get("id"):
                self._numbers[call["index"]] = self._num_calls
                self._num_calls += 1
            number, function = self._numbers[call["index"]], call["function"]
            if number == 0 or self._is_parallel:
                arguments = _text(function.get("arguments") or "")
                yield ToolCallDelta(number, arguments, call.get("id"), function.get("name"))


def _parse_chat(event: Event, calls: _StreamedCalls) -> _ParsedEvent:
    choices: Any = event["choices"] or [{"delta": {}, "finish_reason": None}]
    (choice,) = choices
    told = (choice.get("logprobs") or {}).get("content") or ()
    used = event.get("usage")
    matched = choice.get("matched_stop")
    return _ParsedEvent(
        text=_text(choice["delta"].get("content") or ""),
        logprobs=[_chat_logprob(one) for one in told],
        end=choice["finish_reason"],
        is_token_end=isinstance(matched, int),
        usage=_usage(used | (used.get("prompt_tokens_details") or {})) if used else None,
        is_total=not event["choices"],
        stop=matched if isinstance(matched, str) else None,
        tool_calls=tuple(calls.read(choice["delta"].get("tool_calls") or ())),
    )


def _parse_generate(event: Event, seen: int) -> _ParsedEvent:
    about = event["meta_info"]
    end = about["finish_reason"] or {"type": None}
    if end["type"] == "abort":
        raise error_for(str(end.get("message")), end.get("status_code") or 500)
    return _ParsedEvent(
        text=_text(event["text"]),
        logprobs=_logprobs(about, seen),
        end=end["type"],
        is_token_end=isinstance(end.get("matched"), int),
        usage=_usage(about),
    )


class _DeltaBuilder:
    """Holds back text that may become a stop string, and logprobs until their text is shown.

    The server is asked to leave the stop string in: cut by itself, the answer would lack only what
    was not streamed yet.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._matcher = StopMatcher(stops)
        self._logprobs = LogprobBuffer()

    def feed(
        self, text: str, logprobs: Sequence[TokenLogprob] = (), so_far: Usage | None = None
    ) -> Delta | None:
        """Take new text with its logprobs, and return what of it may be shown."""
        self._logprobs.add(logprobs)
        shown = self._matcher.feed(text)
        # The server itself ends the text behind a stop string, in the middle of a token.
        beyond = sum(len(one.data) for one in logprobs) - len(text.encode())
        delta = self._delta(shown, max(0, beyond) if self._matcher.stopped else 0)
        return delta and replace(delta, so_far=so_far)

    def call(self, calls: tuple[ToolCallDelta, ...], so_far: Usage | None) -> Delta:
        """Return new text of calls, behind the text that was held back before them."""
        before = self._delta(self._matcher.flush()) or Delta()
        return replace(before, tool_calls=calls, so_far=so_far)

    def cut(self, stop: str | None) -> Delta | None:
        """Return what is left before the stop string that ended the answer.

        Beside tools the server itself leaves it out, but for what it had streamed of it.
        """
        if stop is None or self._matcher.stopped:
            return None
        held = self._matcher.unshown
        streamed = max(n for n in range(len(stop)) if held.endswith(stop[:n]))
        return self._delta(self._matcher.feed(stop[streamed:]))

    def end(self, reason: FinishReason, usage: Usage) -> Delta:
        """Return the last delta."""
        last = self._delta(self._matcher.flush()) or Delta()
        reason = "stop" if self._matcher.stopped and reason == "length" else reason
        return replace(last, finish_reason=reason, usage=usage, stop=self._matcher.found)

    def _delta(self, text: str, beyond_bytes: int = 0) -> Delta | None:
        if not text:
            return None
        unshown = len(self._matcher.unshown.encode()) + beyond_bytes
        return Delta(text, logprobs=self._logprobs.take(unshown))


_NO_CONTINUATION = (
    "its stream is no continuation of what came before; a server behind a router must run "
    "without --incremental-streaming-output"
)


def _reason(name: str) -> FinishReason:
    if name not in _REASONS:
        raise SglangFailed(f"it ended the request itself ({name})")
    return _REASONS[name]


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


def _text(told: Any) -> str:
    if not isinstance(told, str):
        raise TypeError(f"{told!r:.80} is no text")
    return told


def _without_end(parsed: _ParsedEvent) -> list[TokenLogprob]:
    """Leave out a token that ended the answer: it stands last, and is not the end of its text.

    Source: a running SGLang 0.5.23, which tells it only where tokens come several at once
    (`--stream-interval`).
    """
    last = parsed.logprobs[-1].text
    is_end = not parsed.text.endswith(last) and "\ufffd" not in last
    return parsed.logprobs[:-1] if is_end else parsed.logprobs


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
