"""Matching of a battle: which two models meet, and on which side each stands."""

import random
from collections.abc import Mapping, Sequence
from itertools import combinations


def match(
    models: Sequence[str], met: Mapping[frozenset[str], int], chance: random.Random
) -> tuple[str, str]:
    """Draw two of at least two models; `met` says how many battles each two had.

    Two that had n battles more than those with the fewest are 1 + n times less likely. The sides
    are drawn too.
    """
    pairs = list(combinations(models, 2))
    battles = [met.get(frozenset(pair), 0) for pair in pairs]
    fewest = min(battles)
    weights = [1 / (1 + count - fewest) for count in battles]
    (pair,) = chance.choices(pairs, weights)
    model_a, model_b = chance.sample(pair, 2)
    return model_a, model_b
