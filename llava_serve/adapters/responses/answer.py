"""Answers of OpenAI's Responses protocol: a response whole, or its events in OpenAI's order.

Bodies are plain objects, which the tests hold against the types of the `openai` package.
"""

from typing import Any

from pydantic_core import to_json

from llava_serve import logs
from llava_serve.adapters.adapter import EventAdapter
from llava_serve.protocol import sse
from llava_serve.protocol.error_shape import as_responses

_PLACE = {"output_index": 0, "content_index": 0}


class ResponseAnswer(EventAdapter):
    """One response with one message of one text."""

    def __init__(self, told: dict[str, Any]) -> None:
        """Let the response repeat what is `told` of its request."""
        request_id = logs.request_id.get()
        self._response = {"id": f"resp_{request_id}", "object": "response"} | told
        self._item_id = f"msg_{request_id}"
        self._sequence_number = 0
        self._text = ""
        self._logprobs: list[Any] = []
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
                self._text += text
                self._logprobs += logprobs
                events += self._event_of_text("delta", delta=text, logprobs=logprobs)
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
        """Return the ends of text, part, item and response."""
        told = self._whole()
        (item,) = told["output"]
        (part,) = item["content"]
        return (
            self._event_of_text("done", text=self._text, logprobs=self._logprobs)
            + self._event("response.content_part.done", **_PLACE, item_id=item["id"], part=part)
            + self._event("response.output_item.done", output_index=0, item=item)
            + self._event(f"response.{told['status']}", response=told)
        )

    def adapt_whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        """Return the response."""
        (choice,) = completion["choices"]
        self._created = completion["created"]
        self._usage = completion.get("usage") or {}
        self._text = choice["message"]["content"]
        self._logprobs = (choice.get("logprobs") or {}).get("content") or []
        self._reason = choice["finish_reason"]
        return self._whole()

    def _start(self) -> bytes:
        begun = self._told("in_progress", [])
        return (
            self._event("response.created", response=begun)
            + self._event("response.in_progress", response=begun)
            + self._event("response.output_item.added", output_index=0, item=self._item([]))
            + self._event(
                "response.content_part.added", **_PLACE, item_id=self._item_id, part=_part("", [])
            )
        )

    def _whole(self) -> dict[str, Any]:
        """Return the response as it is once all has come."""
        is_cut = self._reason == "length"
        status = "incomplete" if is_cut else "completed"
        details = {"reason": "max_output_tokens"} if is_cut else None
        item = self._item([_part(self._text, self._logprobs)], status)
        usage = _usage(self._usage)
        return self._told(status, [item], incomplete_details=details, usage=usage)

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

    def _item(self, content: list[dict[str, Any]], status: str = "in_progress") -> dict[str, Any]:
        return {
            "id": self._item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _event_of_text(self, kind: str, **fields: Any) -> bytes:
        return self._event(
            f"response.output_text.{kind}", **_PLACE, item_id=self._item_id, **fields
        )

    def _event(self, kind: str, **fields: Any) -> bytes:
        number = self._sequence_number
        self._sequence_number += 1
        return sse.encode_named(kind, to_json({"type": kind, "sequence_number": number} | fields))


def _part(text: str, logprobs: list[Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _usage(told: dict[str, Any]) -> dict[str, Any]:
    cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": told.get("prompt_tokens", 0),
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": told.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": told.get("total_tokens", 0),
    }
