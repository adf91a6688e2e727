"""Requests to record: drawn pictures and texts of several kinds, or a user's own."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from llava_serve.errors import CommandError
from llava_serve.replaying.recording import read_lines

MAX_TOKENS = 48
# Set by the recorder itself, or of no use to it.
_NOT_TAKEN = ("model", "stream", "stream_options")

Draw = Callable[[ImageDraw.ImageDraw], None]


def built_in() -> dict[str, dict[str, Any]]:
    """Return bodies by name, without the model."""
    circle, square = _drawn((224, 224), _circle("red")), _drawn((224, 224), _square("blue"))
    number = _drawn((224, 224), _text("47"))
    wide, tall = _drawn((600, 240), _row), _drawn((240, 600), _text("5"))
    asked = {
        "text": [_user("What can you do?")],
        "color": [_user("What color is the circle?", circle)],
        "shape": [_user("What shape is blue?", square)],
        "number": [_user("Which number is shown?", number)],
        "count": [_user("How many shapes are there?", wide)],
        "description": [_user("Describe the picture.", wide)],
        "tall": [_user("Which number is shown?", tall)],
        "two pictures": [_user("Which picture shows a square?", circle, square)],
        "follow-up": [
            _user("What color is the circle?", circle),
            {"role": "assistant", "content": "The circle is red."},
            _user("What color is the background?"),
        ],
        "system": [
            {"role": "system", "content": "Answer in one word."},
            _user("What shape is in the picture?", square),
        ],
        "no picture": [_user("What color is the circle?")],
    }
    return {name: {"messages": messages} for name, messages in asked.items()}


def read_requests(path: Path) -> dict[str, dict[str, Any]]:
    """Return the bodies of a user's file by the number of their line.

    Raises:
        CommandError: a line is no body of a chat completion, or asks for several answers.
    """
    bodies = {}
    for number, line in enumerate(read_lines(path), 1):
        try:
            body = json.loads(line)
        except ValueError as exc:
            raise _wrong(path, number, f"it is no JSON ({exc})") from exc
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            raise _wrong(path, number, "it has no list of messages")
        if body.get("n") not in (None, 1):
            raise _wrong(path, number, "it asks for several answers (n), which are all the same")
        kept = {name: value for name, value in body.items() if name not in _NOT_TAKEN}
        bodies[f"line {number}"] = kept
    if not bodies:
        raise CommandError(f"{path} holds no request", "Give it one body a line.")
    return bodies


def _wrong(path: Path, number: int, why: str) -> CommandError:
    return CommandError(
        f"request {number} of {path} cannot be recorded: {why}",
        "Give each line the body of a POST /v1/chat/completions.",
    )


def _user(text: str, *images: str) -> dict[str, Any]:
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    return {"role": "user", "content": [*shown, {"type": "text", "text": text}]}


def _drawn(size: tuple[int, int], draw: Draw) -> str:
    """Return a picture of (width, height) pixels as a data: URI."""
    image = Image.new("RGB", size, "white")
    draw(ImageDraw.Draw(image))
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode()


def _circle(color: str) -> Draw:
    return lambda canvas: canvas.ellipse((62, 62, 162, 162), fill=color)


def _square(color: str) -> Draw:
    return lambda canvas: canvas.rectangle((62, 62, 162, 162), fill=color)


def _text(text: str) -> Draw:
    font = ImageFont.load_default(110)
    return lambda canvas: canvas.text((112, 112), text, fill="black", font=font, anchor="mm")


def _row(canvas: ImageDraw.ImageDraw) -> None:
    canvas.ellipse((60, 70, 160, 170), fill="red")
    canvas.rectangle((250, 70, 350, 170), fill="green")
    canvas.polygon(((490, 70), (440, 170), (540, 170)), fill="blue")
