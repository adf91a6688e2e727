"""Every two models meet, those with the fewest battles first, and no side is anybody's."""

import random
from collections import Counter

from llava_serve.arena.matching import match

MODELS = ["a", "b", "c", "d"]


def drawn(rounds: int, met: Counter[frozenset[str]]) -> list[tuple[str, str]]:
    chance, pairs = random.Random(4), []
    for _ in range(rounds):
        pair = match(MODELS, met, chance)
        met[frozenset(pair)] += 1
        pairs.append(pair)
    return pairs


def test_all_pairs_have_about_as_many_battles() -> None:
    met: Counter[frozenset[str]] = Counter()
    drawn(600, met)
    assert len(met) == 6
    assert max(met.values()) - min(met.values()) < 25


def test_a_model_that_comes_later_catches_up() -> None:
    met = Counter({frozenset(pair): 50 for pair in ("ab", "ac", "bc")})
    with_late = ["d" in pair for pair in drawn(60, met)]
    assert sum(with_late) > 50


def test_sides_are_drawn() -> None:
    pairs = drawn(600, Counter())
    assert 230 < sum(model_a < model_b for model_a, model_b in pairs) < 370


def test_a_pair_cannot_be_known_beforehand() -> None:
    assert len({frozenset(match(MODELS, {}, random.Random(seed))) for seed in range(60)}) == 6
