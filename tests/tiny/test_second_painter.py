"""The second painter paints what it says, and its exam has one right answer to each question."""

from collections import Counter
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from scripts.tiny.second_exam import ASKERS, draw_second_exam
from scripts.tiny.second_painter import (
    FIELDS,
    PAINTS,
    Canvas,
    Item,
    number_canvas,
    paint,
    random_canvas,
)
from scripts.tiny.world import COLORS, SHAPES, Thing, outline


def canvas(shape: str, tilt: float = 0.0) -> Canvas:
    item = Item(shape, "black", (0, 0, 0), (1, 1), (0.0, 0.0), 0.4, tilt)
    return Canvas((200, 160), "white", (255, 255, 255), (item,), 1.0)


def test_it_knows_the_shapes_and_colors_of_the_world() -> None:
    assert set(FIELDS) == set(SHAPES)
    assert set(PAINTS) == set(COLORS)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_the_one_the_world_draws(shape: str) -> None:
    """Most of what one covers, the other covers too, and no other shape fits better."""
    inside = np.asarray(paint(canvas(shape)))[..., 0] < 128

    def alike(other: str) -> float:
        mask = Image.new("1", (200, 160))
        corners = outline(Thing(other, "black", (0, 0, 0), 0.5, 0.5, 0.4), (200, 160))
        ImageDraw.Draw(mask).polygon(corners, fill=1)
        drawn = np.asarray(mask)
        return float((inside & drawn).sum() / (inside | drawn).sum())

    assert max(SHAPES, key=alike) == shape
    assert alike(shape) > 0.75


def test_edges_are_smooth() -> None:
    levels = Counter(np.asarray(paint(canvas("circle")))[..., 0].flatten().tolist())
    assert len(levels) > 20


def test_items_lie_in_their_cells_and_apart() -> None:
    rng = Random(0)
    for _ in range(300):
        drawn = random_canvas(rng)
        assert len({item.cell for item in drawn.items}) == len(drawn.items)
        for item in drawn.items:
            assert item.color != drawn.ground
            if item.radius <= 0.15:
                assert all(item.radius + abs(off) <= 1 / 6 for off in item.off)


def test_a_number_lies_inside_the_picture() -> None:
    rng = Random(0)
    for _ in range(60):
        drawn = number_canvas(rng)
        pixels = np.asarray(paint(drawn)).astype(int)
        frame = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (frame == drawn.ground_rgb).all()
        assert (pixels != drawn.ground_rgb).any()


def test_an_exam_asks_of_every_kind_alike_and_a_seed_asks_the_same() -> None:
    exam, same = (draw_second_exam(36, seed=3) for _ in range(2))
    assert Counter(dialogue.form for dialogue in exam) == dict.fromkeys(ASKERS, 3)
    for one, two in zip(exam, same, strict=True):
        assert one.exchanges[0].turn == two.exchanges[0].turn
        pictures = zip(one.shown[0].images, two.shown[0].images, strict=True)
        assert all(a.image.tobytes() == b.image.tobytes() for a, b in pictures)
