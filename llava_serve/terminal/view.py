"""How answers are written to standard output: as text while they come, or as JSON."""

import json
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from llava_serve.terminal.answerer import Answer
from llava_serve.terminal.visible import visible


class AnswerView(Protocol):
    """Told of each new text, then of the end."""

    def delta(self, text: str) -> None: ...

    def ended(self, answer: Answer) -> None: ...


class PlainAnswers:
    """Text as it comes; each answer ends with a line feed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def delta(self, text: str) -> None:
        self._out.write(visible(text))
        self._out.flush()

    def ended(self, answer: Answer) -> None:
        nothing_came = not answer.text and answer.finish_reason in ("cancelled", "error")
        if not nothing_came and not answer.text.endswith("\n"):
            self.delta("\n")


class JsonAnswers:
    """One object on one line for each question, also for one that failed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def delta(self, text: str) -> None:
        """Nothing is written before the end."""

    def ended(self, answer: Answer) -> None:
        shown: dict[str, Any] = {
            "question": answer.question,
            "answer": answer.text,
            "finish_reason": answer.finish_reason,
            "usage": answer.usage and asdict(answer.usage),
            "model": answer.model,
        }
        if answer.error is not None:
            shown["error"] = answer.error.as_body()["error"]
        self._out.write(json.dumps(shown) + "\n")
        self._out.flush()
