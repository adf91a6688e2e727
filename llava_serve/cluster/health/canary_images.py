"""Canary images: pairs of drawn pictures that differ in one answer, drawn anew for each check."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw, ImageFont

SIDE = 224  # pixels, width and height: one tile for most models, the fewest for the others


@dataclass(frozen=True, slots=True)
class CanaryQuestion:
    """A question whose answer is different for each of two pictures, which are data: URIs."""

    text: str
    first: str
    swapped: str


def draw_questions(random: Random) -> tuple[CanaryQuestion, ...]:
    """Draw one question about a colour and one about a digit.

    Where and how large things are is drawn by lot, so that no cache knows the pictures; within a
    pair it is the same.
    """
    side = random.randint(SIDE // 3, SIDE // 2)
    left, top = (random.randint(SIDE // 8, SIDE * 3 // 8) for _ in range(2))
    box = (left, top, left + side, top + side)
    font = ImageFont.load_default(random.randint(SIDE // 2, SIDE * 2 // 3))

    def circle(color: str) -> Callable[[ImageDraw.ImageDraw], None]:
        return lambda canvas: canvas.ellipse(box, fill=color)

    def digit(shown: str) -> Callable[[ImageDraw.ImageDraw], None]:
        middle = (box[0] + side / 2, box[1] + side / 2)
        return lambda canvas: canvas.text(middle, shown, fill="black", font=font, anchor="mm")

    colors = random.sample(("red", "blue"), 2)
    digits = random.sample(("2", "7"), 2)
    return (
        CanaryQuestion("What color is the circle?", *(_drawn(circle(color)) for color in colors)),
        CanaryQuestion("Which number is shown?", *(_drawn(digit(shown)) for shown in digits)),
    )


def _drawn(draw: Callable[[ImageDraw.ImageDraw], None]) -> str:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw(ImageDraw.Draw(image))
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode()
