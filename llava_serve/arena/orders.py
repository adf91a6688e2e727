"""Orders of two answers: a judge is asked in both, for it may prefer an answer for its place.

Source: Zheng et al. 2023, "Judging LLM-as-a-Judge", arXiv:2306.05685, section 3.4.
"""

from llava_serve.arena.tally import Winner


def together(one: Winner, swapped: Winner) -> Winner:
    """Return what both orders say together: wins that do not agree are a tie."""
    return one if one == swapped else "tie"
