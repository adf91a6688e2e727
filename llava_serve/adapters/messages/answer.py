"""Answers of Anthropic's Messages protocol: a message whole, or its events in Anthropic's order.

Bodies are plain objects, which the tests hold against the types of the `anthropic` package: to
import that takes longer than all else of a controller's start.
"""

from typing import Any

from pydantic_core import to_json

from llava_serve import logs
from llava_serve.adapters.adapter import EventAdapter
from llava_serve.adapters.answer_call import AnswerCall, CallReader, calls_of
from llava_serve.errors import TextTooLong
from llava_serve.protocol import sse
from llava_serve.protocol.error_shape import as_anthropic

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}
_PING = sse.encode_named("ping", b'{"type":"ping"}')


def _event(kind: str, **fields: Any) -> bytes:
    return sse.encode_named(kind, to_json({"type": kind} | fields))


class MessageAnswer(EventAdapter):
    """One message: blocks of text and of calls.

    A call without whole arguments, which a limit or a stop cut off, has no `input`. A whole message
    shows it as text; in events it is as far as it came, and no `tool_use` is why the message ended.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._calls = CallReader()
        self._blocks = 0  # that were opened, of which the last is open
        self._is_text = False  # and what that is
        self._has_started = False
        self._usage: dict[str, Any] = {}  # of the native wire, as it was told last
        self._choice: dict[str, Any] = {}  # the one that ended the answer

    def adapt_chunk(self, chunk: dict[str, Any]) -> bytes:
        """Return the deltas of a chunk, behind what opens the message where it is the first."""
        self._usage = chunk.get("usage") or self._usage
        events = b"" if self._has_started else self._start()
        for choice in chunk["choices"]:
            if text := choice["delta"].get("content"):
                if not self._is_text:
                    events += self._open(_text_block(""))
                events += self._delta({"type": "text_delta", "text": text})
            for first, arguments in self._calls.read(choice["delta"]):
                if first is not None:
                    events += self._open(_tool_block(first, {}))
                if arguments:
                    delta = {"type": "input_json_delta", "partial_json": arguments}
                    events += self._delta(delta)
            if choice.get("finish_reason"):
                self._choice = choice
        return events

    def adapt_comment(self, comment: str) -> bytes:
        """Return a ping, which may come before the message too."""
        return _PING

    def adapt_error(self, body: dict[str, Any]) -> bytes:
        """Return the event of an error, whose status is out already."""
        return sse.encode_named("error", to_json(as_anthropic(body)))

    def end(self) -> bytes:
        """Return how and why the message ended, with what was used."""
        ending = _ending(self._choice, self._calls.calls)
        return (
            (b"" if self._blocks else self._open(_text_block("")))
            + self._close()
            + _event("message_delta", delta=ending, usage=_usage(self._usage))
            + _event("message_stop")
        )

    def adapt_whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        """Return the message."""
        (choice,) = completion["choices"]
        text, calls = choice["message"]["content"] or "", calls_of(choice["message"])
        blocks = [_text_block(text)] if text or not calls else []
        usage = _usage(completion.get("usage") or {})
        return self._message(blocks + list(map(_block, calls)), usage) | _ending(choice, calls)

    def _start(self) -> bytes:
        self._has_started = True
        return _event("message_start", message=self._message([], _usage(self._usage)))

    def _open(self, block: dict[str, Any]) -> bytes:
        is_first = not self._blocks
        events = b"" if is_first else self._close()
        self._is_text = block["type"] == "text"
        events += _event("content_block_start", index=self._blocks, content_block=block)
        self._blocks += 1
        return events + _PING if is_first else events

    def _delta(self, delta: dict[str, str]) -> bytes:
        return _event("content_block_delta", index=self._blocks - 1, delta=delta)

    def _close(self) -> bytes:
        return _event("content_block_stop", index=self._blocks - 1)

    def _message(self, content: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        return {
            "id": f"msg_{logs.request_id.get()}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }


def count_of(inspection: dict[str, Any]) -> dict[str, Any]:
    """Return the tokens of a prompt, those of its images as the model would get them.

    Raises:
        TextTooLong: it is so far beyond the context that it was not tokenised.
    """
    if inspection["prompt"] is None:
        raise TextTooLong("more tokens than are counted", inspection["context_length"])
    return {"input_tokens": inspection["prompt"]["tokens"]}


def _block(call: AnswerCall) -> dict[str, Any]:
    values = call.values
    return _text_block(call.text) if values is None else _tool_block(call, values)


def _text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _tool_block(call: AnswerCall, values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": values}


def _ending(choice: dict[str, Any], calls: list[AnswerCall]) -> dict[str, str | None]:
    is_call = choice.get("finish_reason") == "tool_calls"
    if is_call and any(call.values is not None for call in calls):
        return {"stop_reason": "tool_use", "stop_sequence": None}
    if stop := choice.get("stop_reason"):
        return {"stop_reason": "stop_sequence", "stop_sequence": stop}
    reason = _STOP_REASONS.get(choice.get("finish_reason", ""), "end_turn")
    return {"stop_reason": reason, "stop_sequence": None}


def _usage(told: dict[str, Any]) -> dict[str, int]:
    """Return the tokens that were used, of which cached ones are no `input_tokens`."""
    cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": told.get("prompt_tokens", 0) - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": told.get("completion_tokens", 0),
    }
