"""Recipe of the training data: weights of question kinds and dialogue forms, image sizes."""

import argparse
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from scripts.tiny.scenes import random_size
from scripts.tiny.world import Size

# How often each kind of question is drawn for a single image.
SINGLE_MIX = {
    "color": 1.1, "shape": 1.6, "count": 2.5, "position": 1.2, "relation": 1.4, "presence": 1.2,
    "description": 0.9, "background": 0.15, "number": 0.2, "beyond": 0.2,
}  # fmt: skip
# How often each form of dialogue is drawn.
FORM_MIX = {
    "single": 44.0, "pair": 9.0, "change": 26.0, "clip": 9.0, "later": 4.0, "number": 12.0,
    "strange": 1.5, "nothing": 1.0, "beyond": 2.5,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Weights of forms and kinds, image sizes, and the number of questions of a dialogue."""

    forms: dict[str, float] = field(default_factory=lambda: dict(FORM_MIX))
    kinds: dict[str, float] = field(default_factory=lambda: dict(SINGLE_MIX))
    size: Callable[[Random, float], Size] = random_size
    turns: int = 7
    one_word: bool = False  # every answer is its `word`
    terse: float = 0.0  # share of dialogues that ask for one word
    shades: float = 0.0  # share of images in any shade that people call by a color's name
    base_only: bool = False  # show the base tile alone and nothing wide: a cheap first phase

    def weighted(self, mix: Mapping[str, float]) -> "Recipe":
        """Return the same with the weights of some kinds or forms replaced, by name."""
        return replace(
            self,
            kinds=self.kinds | {name: mix[name] for name in self.kinds if name in mix},
            forms=self.forms | {name: mix[name] for name in self.forms if name in mix},
        )


def training_size(rng: Random, largest_ratio: float) -> Size:
    """Draw a size, mostly near the tile's own, which is cheap to draw; else any."""
    if rng.random() < 0.1:
        return random_size(rng, largest_ratio)
    short = rng.randint(96, 190)
    ratio = 1.0 if rng.random() < 0.4 else math.exp(rng.uniform(0, math.log(largest_ratio)))
    sides = (short, round(short * ratio))
    return sides if rng.random() < 0.5 else (sides[1], sides[0])


def read_mix(text: str) -> dict[str, float]:
    """Read the flag `--mix`: weights by name, as JSON.

    Raises:
        argparse.ArgumentTypeError: it is no such thing, or a name is neither a kind nor a form.
    """
    try:
        mix = json.loads(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"is no JSON: {exc}") from exc
    if not isinstance(mix, dict) or not all(isinstance(w, int | float) for w in mix.values()):
        raise argparse.ArgumentTypeError('must be weights by name, such as {"shape": 2}')
    if unknown := sorted(set(mix) - {*SINGLE_MIX, *FORM_MIX}):
        raise argparse.ArgumentTypeError(
            f"knows no {', '.join(unknown)}; there are {', '.join([*SINGLE_MIX, *FORM_MIX])}"
        )
    return mix
