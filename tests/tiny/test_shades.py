"""Shades: each lies in its own color's region, and scenes keep what was equal equal."""

import colorsys
from itertools import pairwise
from random import Random

import pytest

from scripts.tiny.dialogue import Dialogue, random_dialogue
from scripts.tiny.recipe import Recipe, training_size
from scripts.tiny.scenes import random_scene
from scripts.tiny.shades import REGIONS, random_shade, shaded
from scripts.tiny.world import COLORS, Rgb, Scene

BRIGHT = [name for name in REGIONS if name not in ("black", "white", "gray")]
HUE_GAP = 7  # degrees between two colors, where people disagree


def hsv(rgb: Rgb) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in rgb))
    return hue * 360, saturation, value


def test_every_color_has_a_region() -> None:
    assert list(REGIONS) == list(COLORS)


def test_between_the_hues_of_two_colors_there_is_a_gap() -> None:
    hues = sorted(REGIONS[name][0] for name in BRIGHT)
    hues.append((hues[0][0] + 360, hues[0][1] + 360))
    for (_, end), (start, _) in pairwise(hues):
        assert start - end >= HUE_GAP


@pytest.mark.parametrize("name", COLORS)
def test_the_plain_value_of_a_color_lies_in_its_region(name: str) -> None:
    for part, (low, high) in zip(hsv(COLORS[name][0]), REGIONS[name], strict=True):
        assert low <= part <= high


@pytest.mark.parametrize("name", BRIGHT)
def test_shades_fill_their_region(name: str) -> None:
    rng = Random(name)
    low, high = REGIONS[name][0]
    hues = [(hsv(random_shade(rng, name))[0] + 40) % 360 - 40 for _ in range(500)]
    assert low - 1 <= min(hues) < low + 2
    assert high - 2 < max(hues) <= high + 1


def test_what_was_one_value_stays_one_value() -> None:
    for seed in range(50):
        scene = random_scene(Random(seed), (96, 96))
        one, two = shaded(Random(seed), (scene, scene))
        assert one == two
        assert [thing.color for thing in one.things] == [thing.color for thing in scene.things]
        if scene.things:
            assert one != scene


def background_shades(dialogue: Dialogue) -> set[Rgb]:
    scenes = [drawn.scene for shown in dialogue.shown for drawn in shown.images]
    return {scene.background_rgb for scene in scenes if isinstance(scene, Scene)}


@pytest.mark.parametrize("form", ["single", "clip"])
def test_a_recipe_with_shades_draws_values_that_no_list_has(form: str) -> None:
    recipe = Recipe(forms={form: 1.0}, size=training_size, shades=1.0)
    drawn = [background_shades(random_dialogue(Random(seed), recipe)) for seed in range(20)]
    assert all(len(values) == 1 for values in drawn)
    assert len(set.union(*drawn)) == 20
