"""Answers of Ollama's protocol: one record whole, or a line of JSON for each delta and a last one.

Bodies are plain objects, which the tests hold against the types of the `ollama` package.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from llava_serve.adapters.adapter import EventAdapter
from llava_serve.adapters.answer_call import AnswerCall, CallReader, calls_of
from llava_serve.protocol.error_shape import as_ollama

# What a record has of a text and of whole calls.
Content = Callable[[str, Sequence[AnswerCall]], dict[str, Any]]
_NANOSECONDS = 1_000_000_000


def chat_content(text: str, calls: Sequence[AnswerCall]) -> dict[str, Any]:
    """Return what a record of `/api/chat` has of an answer, or of a part of it.

    A call without whole arguments, which a limit or a stop cut off, is shown as text.
    """
    told = [(call, values) for call in calls if (values := call.values) is not None]
    text += "".join(call.text for call in calls if call.values is None)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if told:
        message["tool_calls"] = [_call(call, values) for call, values in told]
    return {"message": message}


def generate_content(text: str, _: Sequence[AnswerCall]) -> dict[str, Any]:
    """Return what a record of `/api/generate` has of an answer, or of a part of it."""
    return {"response": text}


class OllamaAnswer(EventAdapter):
    """Records under the name that the request gave the model."""

    media_type = "application/x-ndjson"

    def __init__(self, model: str, content: Content) -> None:
        self._began_s = time.monotonic()
        self._model = model
        self._content = content
        self._calls = CallReader()
        self._num_told = 0  # of the calls
        self._usage: dict[str, Any] = {}  # of the native wire, as are these
        self._timings: dict[str, float | None] = {}
        self._reason = "stop"

    def adapt_chunk(self, chunk: dict[str, Any]) -> bytes:
        """Return a record for each text, and for each call once it is whole."""
        self._usage = chunk.get("usage") or self._usage
        self._timings = chunk.get("timings") or self._timings
        records = b""
        for choice in chunk["choices"]:
            if text := choice["delta"].get("content"):
                records += self._tell_calls(0) + _line(self._record(text, (), choice))
            for call, _ in self._calls.read(choice["delta"]):
                if call is not None:
                    records += self._tell_calls(1)
            self._reason = choice.get("finish_reason") or self._reason
        return records

    def adapt_comment(self, comment: str) -> bytes:
        """Return a space, which may stand in front of a record: clients read each line as JSON."""
        return b" "

    def adapt_error(self, body: dict[str, Any]) -> bytes:
        """Return the record of an error, whose status is out already."""
        return _line(as_ollama(body))

    def end(self) -> bytes:
        """Return the last record, which has no text."""
        last = self._record("", (), {}, done=True) | self._ending()
        return self._tell_calls(0) + _line(last)

    def adapt_whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        """Return the one record."""
        (choice,) = completion["choices"]
        self._usage = completion.get("usage") or {}
        self._timings = completion.get("timings") or {}
        self._reason = choice["finish_reason"]
        text, calls = choice["message"]["content"] or "", calls_of(choice["message"])
        return self._record(text, calls, choice, done=True) | self._ending()

    def loaded(self) -> dict[str, Any]:
        """Return the record that answers who says nothing: the model is there."""
        return self._record("", (), {}, done=True) | {"done_reason": "load"}

    def _tell_calls(self, num_open: int) -> bytes:
        """Return the records of calls that nobody was told of, without the last ones."""
        whole = self._calls.calls[self._num_told : len(self._calls.calls) - num_open]
        self._num_told += len(whole)
        return b"".join(_line(self._record("", (call,), {})) for call in whole)

    def _record(
        self,
        text: str,
        calls: Sequence[AnswerCall],
        choice: Mapping[str, Any],
        *,
        done: bool = False,
    ) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        said = self._content(text, calls)
        record = {"model": self._model, "created_at": now, **said, "done": done}
        logprobs = (choice.get("logprobs") or {}).get("content")
        return {**record, "logprobs": logprobs} if logprobs else record

    def _ending(self) -> dict[str, Any]:
        """Return how and why the answer ended; what nobody measured is left out."""
        prompt_s = sum(self._timings.get(stage) or 0.0 for stage in ("vision_s", "prefill_s"))
        told = {
            "prompt_eval_count": self._usage.get("prompt_tokens"),
            "prompt_eval_duration": _nanoseconds(prompt_s),
            "eval_count": self._usage.get("completion_tokens"),
            "eval_duration": _nanoseconds(self._timings.get("decode_s")),
        }
        return {
            "done_reason": "length" if self._reason == "length" else "stop",
            "total_duration": _nanoseconds(time.monotonic() - self._began_s),
            "load_duration": 0,  # it was loaded before
            **{name: value for name, value in told.items() if value is not None},
        }


def _call(call: AnswerCall, values: dict[str, Any]) -> dict[str, Any]:
    function = {"index": call.index, "name": call.name, "arguments": values}
    return {"id": call.id, "function": function}


def _line(record: Mapping[str, Any]) -> bytes:
    return to_json(record) + b"\n"


def _nanoseconds(seconds: float | None) -> int | None:
    return round(seconds * _NANOSECONDS) if seconds else None
