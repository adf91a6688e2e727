"""Answers of OpenAI's Responses protocol: a response whole, or its events in OpenAI's order.

Bodies are plain objects, which the tests hold against the types of the `openai` package.
"""

import secrets
from typing import Any

from pydantic_core import to_json

from llava_serve.adapters.adapter import EventAdapter
from llava_serve.adapters.answer_call import CallReader, calls_of
from llava_serve.adapters.responses.output_item import Events, OutputCall, OutputItem, OutputMessage
from llava_serve.protocol import sse
from llava_serve.protocol.error_shape import as_responses


class ResponseAnswer(EventAdapter):
    """One response: a message, calls, and a message behind calls where the model says more."""

    def __init__(self, told: dict[str, Any]) -> None:
        """Let the response repeat what is `told` of its request."""
        self._unique = secrets.token_hex(12)  # a client may choose its request's id
        self.id = f"resp_{self._unique}"
        self._response = {"id": self.id, "object": "response"} | told
        self._items: list[OutputItem] = []
        self._calls = CallReader()
        self._sequence_number = 0
        self._created: int | None = None  # None: no chunk has come
        self._usage: dict[str, Any] = {}  # of the native wire
        self._reason = "stop"

    def adapt_chunk(self, chunk: dict[str, Any]) -> bytes:
        """Return the deltas of a chunk, behind what opens the response where it is the first."""
        events = b""
        if self._created is None:
            self._created = chunk["created"]
            events = self._start()
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"]:
            if text := choice["delta"].get("content"):
                logprobs = (choice.get("logprobs") or {}).get("content") or []
                events += self._say(text, logprobs)
            for call, arguments in self._calls.read(choice["delta"]):
                if call is not None:
                    events += self._open(OutputCall(self._new_id("fc"), call))
                item = self._items[-1]
                if arguments and isinstance(item, OutputCall):
                    events += self._of_last(item.more(arguments))
            self._reason = choice.get("finish_reason") or self._reason
        return events

    def adapt_comment(self, comment: str) -> bytes:
        """Return the comment: clients skip it."""
        return f"{comment}\n\n".encode()

    def adapt_error(self, body: dict[str, Any]) -> bytes:
        """Return the event of an error, and behind it the response that failed.

        The `error` within the first is what OpenAI's clients look at, and raise.
        """
        error = as_responses(body)["error"]
        about = {name: error[name] for name in ("code", "message", "param")}
        events = self._event("error", **about, error=error)
        if self._created is None:
            return events
        failure = {"code": "server_error", "message": error["message"]}
        failed = self._told("failed", [], error=failure)
        return events + self._event("response.failed", response=failed)

    def end(self) -> bytes:
        """Return the ends of the last item and of the response."""
        events = b"" if self._items else self._open(self._new_message())
        events += self._close()
        told = self.whole = self._whole()
        return events + self._event(f"response.{told['status']}", response=told)

    def adapt_whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        """Return the response."""
        (choice,) = completion["choices"]
        self._created = completion["created"]
        self._usage = completion.get("usage") or {}
        self._reason = choice["finish_reason"]
        text, calls = choice["message"]["content"] or "", calls_of(choice["message"])
        if text or not calls:
            message = self._new_message()
            message.more(text, (choice.get("logprobs") or {}).get("content") or [])
            self._items.append(message)
        for call in calls:
            self._items.append(OutputCall(self._new_id("fc"), call))
        return self._whole()

    def _start(self) -> bytes:
        begun = self._told("in_progress", [])
        return self._event("response.created", response=begun) + self._event(
            "response.in_progress", response=begun
        )

    def _say(self, text: str, logprobs: list[Any]) -> bytes:
        events, item = b"", self._items[-1] if self._items else None
        if not isinstance(item, OutputMessage):
            item = self._new_message()
            events = self._open(item)
        return events + self._of_last(item.more(text, logprobs))

    def _new_message(self) -> OutputMessage:
        return OutputMessage(self._new_id("msg"))

    def _new_id(self, kind: str) -> str:
        """Return the id of the next item, which tells that of the response."""
        return f"{kind}_{self._unique}_{len(self._items)}"

    def _open(self, item: OutputItem) -> bytes:
        events = self._close() if self._items else b""
        self._items.append(item)
        return events + self._of_last(item.opening())

    def _close(self) -> bytes:
        return self._of_last(self._items[-1].closing(is_cut=self._is_cut))

    def _of_last(self, events: Events) -> bytes:
        at = len(self._items) - 1
        return b"".join(self._event(kind, output_index=at, **fields) for kind, fields in events)

    @property
    def _is_cut(self) -> bool:
        return self._reason == "length"

    def _whole(self) -> dict[str, Any]:
        """Return the response as it is once all has come."""
        status = "incomplete" if self._is_cut else "completed"
        details = {"reason": "max_output_tokens"} if self._is_cut else None
        last = len(self._items) - 1
        output = [
            item.told(is_cut=self._is_cut and at == last) for at, item in enumerate(self._items)
        ]
        usage = _usage(self._usage)
        return self._told(status, output, incomplete_details=details, usage=usage)

    def _told(self, status: str, output: list[dict[str, Any]], **ending: Any) -> dict[str, Any]:
        return self._response | {
            "created_at": self._created,
            "status": status,
            "output": output,
            "error": None,
            "incomplete_details": None,
            "usage": None,
            **ending,
        }

    def _event(self, kind: str, **fields: Any) -> bytes:
        number = self._sequence_number
        self._sequence_number += 1
        return sse.encode_named(kind, to_json({"type": kind, "sequence_number": number} | fields))


def _usage(told: dict[str, Any]) -> dict[str, Any]:
    cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": told.get("prompt_tokens", 0),
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": told.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": told.get("total_tokens", 0),
    }
