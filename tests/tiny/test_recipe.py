"""What `--mix` says changes what is drawn, and what it cannot mean is refused."""

import argparse
from random import Random

import pytest

from scripts.tiny.dialogue import random_dialogue
from scripts.tiny.recipe import FORM_MIX, SINGLE_MIX, Recipe, read_mix


def test_only_what_has_weight_is_drawn() -> None:
    mix = dict.fromkeys([*SINGLE_MIX, *FORM_MIX], 0.0) | {"single": 1.0, "color": 1.0}
    recipe = Recipe(turns=1).weighted(mix)
    drawn = [random_dialogue(Random(seed), recipe) for seed in range(20)]
    kinds = {exchange.turn.kind for one in drawn for exchange in one.exchanges}
    assert kinds == {"color"}


def test_weights_are_read_by_name() -> None:
    assert read_mix('{"shape": 2, "clip": 0.5}') == {"shape": 2, "clip": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"shpae": 2}', "knows no shpae; there are color, shape"),
        ("shape=2", "is no JSON"),
        ('{"shape": "2"}', "must be weights by name"),
        ("[2]", "must be weights by name"),
    ],
)
def test_what_is_no_weight_of_anything_drawn_is_refused(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        read_mix(text)
