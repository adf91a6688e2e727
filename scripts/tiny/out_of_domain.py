"""Out-of-domain questions and images, which the model must refuse."""

from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scripts.tiny.turns import PHRASES, REFUSAL, Turn, wording
from scripts.tiny.world import Size

HELD_OUT = PHRASES["beyond"]["held_out"]


def ask_out_of_domain(rng: Random, *, held_out: bool = False) -> Turn:
    """Ask for something outside the world; `held_out` ones are never trained on."""
    question = rng.choice(HELD_OUT) if held_out else _training_question(rng)
    return Turn("beyond", question, REFUSAL, REFUSAL)


def ask_what_is_this(rng: Random) -> Turn:
    """Ask for a description of an image outside the world."""
    return Turn("beyond", wording(rng, "beyond", "what_is_this"), REFUSAL, REFUSAL)


def _training_question(rng: Random) -> str:
    if rng.random() < 0.4:
        question = rng.choice(PHRASES["beyond"]["sentences"])
    else:
        pattern = rng.choice(PHRASES["beyond"]["patterns"])
        names = ("place", "person", "object", "topic")
        words = {name: rng.choice(PHRASES["beyond"][name]) for name in names}
        question = pattern.format(**words, a=rng.randint(2, 999), b=rng.randint(2, 99))
    if question in HELD_OUT:
        return "Hello"
    return question.lower() if rng.random() < 0.15 else question


def strange_image(rng: Random, size: Size) -> Image.Image:
    """Noise, a gradient, a blurred mess or stripes: nothing this world has a name for."""
    noise = np.random.default_rng(rng.getrandbits(32))
    way = rng.randrange(4)
    if way == 0:
        shape = (size[1], size[0], 3)
        return Image.fromarray(noise.integers(0, 256, shape, dtype=np.uint8), "RGB")
    if way == 1:
        coarse = noise.integers(0, 256, (rng.randint(2, 9), rng.randint(2, 9), 3), dtype=np.uint8)
        return Image.fromarray(coarse, "RGB").resize(size, Image.Resampling.BICUBIC)
    if way == 2:
        return _stripes(rng, size)
    return _mess(rng, size).filter(ImageFilter.GaussianBlur(min(size) / 60))


def _random_rgb(rng: Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _stripes(rng: Random, size: Size) -> Image.Image:
    image = Image.new("RGB", size, _random_rgb(rng))
    pen = ImageDraw.Draw(image)
    step = max(4, min(size) // rng.randint(6, 16))
    color = _random_rgb(rng)
    for at in range(-size[1], size[0] + size[1], 2 * step):
        pen.line((at, 0, at + rng.choice((0, size[1])), size[1]), fill=color, width=step)
    return image


def _mess(rng: Random, size: Size) -> Image.Image:
    image = Image.new("RGB", size, _random_rgb(rng))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(25, 60)):
        xs = sorted(rng.uniform(-0.1, 1.1) * size[0] for _ in range(2))
        ys = sorted(rng.uniform(-0.1, 1.1) * size[1] for _ in range(2))
        color = _random_rgb(rng)
        if rng.random() < 0.5:
            pen.ellipse((xs[0], ys[0], xs[1], ys[1]), fill=color)
        else:
            pen.rectangle((xs[0], ys[0], xs[1], ys[1]), fill=color)
    return image
