"""Submission files that are one JSON array, written an entry at a time as Python's json does."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llava_serve.evaluation.task import Answered


def write_array(path: Path, entries: Iterable[Any]) -> Path:
    """Write the bytes that `json.dump` of the whole list would, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, entry in enumerate(entries):
            file.write((", " if number else "") + json.dumps(entry))
        file.write("]")
    return path


def answer_text(answered: Answered) -> str | None:
    """Return an answer as LLaVA's answer file has it, without space around; None: it failed."""
    text = answered[1].text
    return None if text is None else text.strip()
