"""Output items of OpenAI's Responses: messages and calls, with the events of each.

Events are (type, fields), without what says where they stand.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from llava_serve.adapters.answer_call import AnswerCall

Events = list[tuple[str, dict[str, Any]]]


class OutputItem(ABC):
    id: str

    @abstractmethod
    def told(self, *, is_cut: bool) -> dict[str, Any]:
        """Return the item as it is once it has ended, with `is_cut` where a limit ended it."""

    @abstractmethod
    def opening(self) -> Events: ...

    @abstractmethod
    def closing(self, *, is_cut: bool) -> Events: ...


@dataclass(slots=True)
class OutputMessage(OutputItem):
    """A message of one text."""

    id: str
    text: str = ""
    logprobs: list[Any] = field(default_factory=list)

    def told(self, *, is_cut: bool) -> dict[str, Any]:
        return self._item([self._part()], "incomplete" if is_cut else "completed")

    def opening(self) -> Events:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return [
            ("response.output_item.added", {"item": self._item([], "in_progress")}),
            ("response.content_part.added", {**self._place, "part": part}),
        ]

    def more(self, text: str, logprobs: list[Any]) -> Events:
        """Take more of the text."""
        self.text += text
        self.logprobs += logprobs
        new = {"delta": text, "logprobs": logprobs}
        return [("response.output_text.delta", {**self._place, **new})]

    def closing(self, *, is_cut: bool) -> Events:
        text = {"text": self.text, "logprobs": self.logprobs}
        return [
            ("response.output_text.done", {**self._place, **text}),
            ("response.content_part.done", {**self._place, "part": self._part()}),
            ("response.output_item.done", {"item": self.told(is_cut=is_cut)}),
        ]

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "content_index": 0}

    def _part(self) -> dict[str, Any]:
        told = {"text": self.text, "annotations": [], "logprobs": self.logprobs}
        return {"type": "output_text", **told}

    def _item(self, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
        message = {"type": "message", "role": "assistant", "status": status, "content": content}
        return {"id": self.id, **message}


@dataclass(slots=True)
class OutputCall(OutputItem):
    """A call, which is complete where its arguments are, whatever ended the answer."""

    id: str
    call: AnswerCall

    def told(self, *, is_cut: bool) -> dict[str, Any]:
        status = "incomplete" if self.call.values is None else "completed"
        return self._item(self.call.arguments, status)

    def opening(self) -> Events:
        return [("response.output_item.added", {"item": self._item("", "in_progress")})]

    def more(self, arguments: str) -> Events:
        """Tell more of the arguments, which the call has."""
        new = {"item_id": self.id, "delta": arguments}
        return [("response.function_call_arguments.delta", new)]

    def closing(self, *, is_cut: bool) -> Events:
        whole = {"item_id": self.id, "arguments": self.call.arguments}
        return [
            ("response.function_call_arguments.done", whole),
            ("response.output_item.done", {"item": self.told(is_cut=is_cut)}),
        ]

    def _item(self, arguments: str, status: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function_call",
            "call_id": self.call.id,
            "name": self.call.name,
            "arguments": arguments,
            "status": status,
        }
