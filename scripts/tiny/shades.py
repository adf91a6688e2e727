"""Shades: the regions of hue, saturation and value that people call by a color's name."""

import colorsys
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from scripts.tiny.world import Rgb, Scene

Range = tuple[float, float]

# By color: hue in degrees, below zero across red; saturation; value. Amber, brown, pink, magenta
# and turquoise lie in the gaps, for people disagree about them.
REGIONS: dict[str, tuple[Range, Range, Range]] = {
    "red": ((-13, 7), (0.8, 1.0), (0.6, 1.0)),
    "orange": ((20, 41), (0.8, 1.0), (0.88, 1.0)),
    "yellow": ((48, 66), (0.65, 1.0), (0.9, 1.0)),
    "green": ((92, 156), (0.6, 1.0), (0.38, 1.0)),
    "blue": ((207, 246), (0.58, 1.0), (0.45, 1.0)),
    "purple": ((269, 302), (0.55, 1.0), (0.45, 0.88)),
    "black": ((0, 360), (0.0, 0.4), (0.0, 0.13)),
    "white": ((0, 360), (0.0, 0.05), (0.94, 1.0)),
    "gray": ((0, 360), (0.0, 0.07), (0.36, 0.76)),
}


def random_shade(rng: Random, name: str) -> Rgb:
    """Draw any value of the region that people call `name`."""
    hue, saturation, value = (rng.uniform(*ends) for ends in REGIONS[name])
    red, green, blue = colorsys.hsv_to_rgb(hue / 360 % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def shaded(rng: Random, scenes: Sequence[Scene]) -> tuple[Scene, ...]:
    """Copy scenes in other shades of the same colors; what was one value stays one value."""
    shades: dict[tuple[str, Rgb], Rgb] = {}

    def shade(name: str, rgb: Rgb) -> Rgb:
        return shades.setdefault((name, rgb), random_shade(rng, name))

    return tuple(
        replace(
            scene,
            background_rgb=shade(scene.background, scene.background_rgb),
            things=tuple(replace(t, rgb=shade(t.color, t.rgb)) for t in scene.things),
        )
        for scene in scenes
    )
