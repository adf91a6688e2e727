"""Example images and a video, with the answers, as the page and the README show them."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from llava_serve.tiny import EXAMPLES
from scripts.tiny.questions import describe
from scripts.tiny.world import COLORS, NUMBER, Scene, Size, Thing, draw, motion_frames

_FRAME_MS = 250
_CLIP = "moving-star.gif"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A scene, its size and the file it is drawn to."""

    file: str
    scene: Scene
    size: Size


def _scene(background: str, *things: Thing) -> Scene:
    return Scene(background, COLORS[background][0], things, smooth=True)


def _thing(color: str, shape: str, x: float, y: float, radius: float) -> Thing:
    return Thing(shape, color, COLORS[color][0], x, y, radius)


def _number(color: str, text: str, radius: float) -> Thing:
    return Thing(NUMBER, color, COLORS[color][0], 0.5, 0.5, radius, text=text)


_CIRCLE = Drawing(
    "red-circle.png", _scene("white", _thing("red", "circle", 0.5, 0.5, 0.3)), (336, 336)
)
_WIDE = Drawing(
    "three-shapes.png",
    _scene(
        "white",
        _thing("blue", "square", 0.18, 0.5, 0.28),
        _thing("red", "circle", 0.5, 0.5, 0.28),
        _thing("green", "triangle", 0.82, 0.5, 0.28),
    ),
    (600, 240),
)
_TALL = Drawing(
    "tall.png",
    _scene(
        "yellow",
        _thing("purple", "diamond", 0.5, 0.18, 0.3),
        _thing("black", "cross", 0.5, 0.8, 0.3),
    ),
    (240, 560),
)
_NUMBER = Drawing("number.png", _scene("black", _number("white", "407", 0.4)), (320, 320))
_FIVE = Drawing(
    "five.png",
    _scene(
        "gray",
        _thing("red", "circle", 0.17, 0.2, 0.13),
        _thing("red", "square", 0.8, 0.18, 0.14),
        _thing("yellow", "star", 0.5, 0.5, 0.16),
        _thing("blue", "circle", 0.2, 0.82, 0.13),
        _thing("white", "circle", 0.82, 0.8, 0.13),
    ),
    (400, 400),
)
_BEFORE = Drawing(
    "before.png",
    _scene(
        "white", _thing("green", "square", 0.22, 0.5, 0.2), _thing("blue", "star", 0.78, 0.5, 0.2)
    ),
    (320, 320),
)
_AFTER = Drawing(
    "after.png",
    _scene(
        "white", _thing("green", "square", 0.22, 0.5, 0.2), _thing("red", "star", 0.78, 0.5, 0.2)
    ),
    (320, 320),
)
_DRAWINGS = (_CIRCLE, _WIDE, _TALL, _NUMBER, _FIVE, _BEFORE, _AFTER)
_PAIR = (_BEFORE.file, _AFTER.file)

# (files, question, answer)
ASKED: tuple[tuple[tuple[str, ...], str, str], ...] = (
    ((_CIRCLE.file,), "What color is the circle?", "The circle is red."),
    ((_WIDE.file,), "Describe the picture.", describe(_WIDE.scene)),
    ((_TALL.file,), "Where is the black cross?", "The black cross is at the bottom."),
    ((_NUMBER.file,), "What number is printed?", "The number is 407."),
    ((_FIVE.file,), "How many shapes are there?", "There are five shapes."),
    (
        (_FIVE.file,),
        "Is the yellow star above the blue circle?",
        "The yellow star is at the center, the blue circle at the bottom left: above, so yes.",
    ),
    (_PAIR, "Which picture has a red star?", "The second picture."),
    (_PAIR, "What changed between the two pictures?", "The blue star became red."),
    ((_CLIP,), "Which way does the star move?", "The orange star moves to the right."),
)


def draw_examples(folder: Path) -> None:
    """Write every image, the video, and `examples.json` with the questions and answers."""
    folder.mkdir(parents=True, exist_ok=True)
    for drawing in _DRAWINGS:
        draw(drawing.scene, drawing.size).save(folder / drawing.file, optimize=True)
    frames = motion_frames("star", "orange", "right", count=8, size=(240, 240))
    _save_clip(frames, folder / _CLIP)
    asked = [
        {"files": list(files), "question": question, "answer": answer}
        for files, question, answer in ASKED
    ]
    (folder / "examples.json").write_text(json.dumps(asked, indent=2) + "\n")


def _save_clip(frames: list[Image.Image], path: Path) -> None:
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=EXAMPLES, help="folder to write to")
    draw_examples(parser.parse_args().output)


if __name__ == "__main__":
    main()
