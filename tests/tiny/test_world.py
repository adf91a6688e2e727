"""The image world: what is drawn is what was meant."""

from random import Random

import pytest

from scripts.tiny.scenes import random_scene, random_size
from scripts.tiny.world import (
    COLORS,
    NUMBER,
    SHAPES,
    Scene,
    Size,
    draw,
    motion_frames,
    simple_image,
)


def random_scenes(count: int) -> list[tuple[Scene, Size]]:
    rng = Random("world")
    sizes = [random_size(rng) for _ in range(count)]
    return [(random_scene(rng, size), size) for size in sizes]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_simple_picture_has_its_color_in_the_middle(shape: str) -> None:
    image = simple_image(shape, "red", "white", (200, 120))
    assert image.size == (200, 120)
    assert image.getpixel((100, 60)) == COLORS["red"][0]
    assert image.getpixel((1, 1)) == COLORS["white"][0]


def test_frames_move_the_way_they_say() -> None:
    frames = motion_frames("circle", "blue", "left", count=4, size=(100, 100))
    columns = [
        sum(x for x in range(100) if frame.getpixel((x, 50)) == COLORS["blue"][0])
        for frame in frames
    ]
    assert columns == sorted(columns, reverse=True)
    assert len(set(columns)) == 4


def test_the_same_seed_draws_the_same_picture() -> None:
    for seed in range(5):
        one, two = (draw(random_scene(Random(seed), (120, 90)), (120, 90)) for _ in range(2))
        assert one.tobytes() == two.tobytes()


def test_sizes_lie_between_96_and_800_and_some_are_wide_and_some_tall() -> None:
    rng = Random(0)
    sizes = [random_size(rng) for _ in range(300)]
    assert all(96 <= side <= 800 for size in sizes for side in size)
    ratios = [width / height for width, height in sizes]
    assert min(ratios) < 0.5
    assert max(ratios) > 2


def test_things_stand_apart_and_inside() -> None:
    for scene, (width, height) in random_scenes(300):
        short = min(width, height)
        circles = [(t.x * width, t.y * height, t.radius * short) for t in scene.things]
        for i, (x, y, radius) in enumerate(circles):
            assert radius <= min(x, y, width - x, height - y)
            for other_x, other_y, other_radius in circles[:i]:
                apart = ((x - other_x) ** 2 + (y - other_y) ** 2) ** 0.5
                assert apart > radius + other_radius


def test_nothing_has_the_color_of_its_background() -> None:
    for scene, _ in random_scenes(300):
        assert scene.background not in {thing.color for thing in scene.things}


def test_no_centre_lies_on_a_line_of_the_grid() -> None:
    for scene, _ in random_scenes(300):
        for thing in scene.things:
            for at in (thing.x, thing.y):
                assert min(abs(at - 1 / 3), abs(at - 2 / 3)) > 0.02


def test_scenes_hold_up_to_five_shapes_and_numbers_of_one_to_three_digits() -> None:
    scenes = [scene for scene, _ in random_scenes(500)]
    assert {len(scene.shapes) for scene in scenes} == {0, 1, 2, 3, 4, 5}
    numbers = [scene.number for scene in scenes if scene.number]
    assert {len(number.text) for number in numbers} == {1, 2, 3}
    assert all(number.shape == NUMBER for number in numbers)
