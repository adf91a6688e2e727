"""What each program of this folder is asked to do, and how it tells what came of it."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

ADDRESS, PICTURE = sys.argv[1], Path(sys.argv[2])
MODEL, SLOW_MODEL, NO_MODEL = "llava-tiny", "slow", "no-such-model"
TOOL_MODEL = "tools"  # which says anything beside its calls
QUESTION = "What color is the circle?"
LONG_QUESTION = "word " * 300  # which the slow model repeats for a minute
WEATHER_QUESTION = "What is the weather in Kyoto?"
CITIES = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Kyoto", "Bonn"]}},
    "required": ["city"],
    "additionalProperties": False,
}
PICTURE_BASE64 = base64.b64encode(PICTURE.read_bytes()).decode()
PICTURE_URL = f"data:image/png;base64,{PICTURE_BASE64}"


def asked(question: str = QUESTION) -> list[dict[str, Any]]:
    """Return the messages of a question about the picture."""
    parts = [
        {"type": "image_url", "image_url": {"url": PICTURE_URL}},
        {"type": "text", "text": question},
    ]
    return [{"role": "user", "content": parts}]


def tell(what: str, **facts: Any) -> None:
    """Say what was tried and what came of it."""
    print(json.dumps({"tried": what, **facts}), flush=True)


def tell_answer(what: str, answer: str | None) -> None:
    """Say what was answered."""
    tell(what, answer=answer)


def tell_stream(what: str, pieces: list[str]) -> None:
    """Say what was answered in pieces."""
    tell(what, answer="".join(pieces), pieces=sum(map(bool, pieces)))


def tell_tools(name: str, arguments: dict[str, Any], **facts: Any) -> None:
    """Say which tool was called, and what is told of the answer to its result."""
    tell("tools", name=name, arguments=arguments, **facts)


def tell_error(error: Exception) -> None:
    """Say how an unknown model was refused."""
    tell("error", kind=type(error).__name__, message=str(error))
