"""A verdict is the last one that is given, in terms of the sides."""

import pytest

from llava_serve.arena.tally import Winner
from llava_serve.judging.verdict import verdict


@pytest.mark.parametrize(
    ("text", "winner"),
    [
        pytest.param("VERDICT: 1", "a", id="the first"),
        pytest.param("Reasons.\n**Verdict: 2**", "b", id="the second, marked up"),
        pytest.param("verdict: Both bad.", "both_bad", id="both bad"),
        pytest.param("VERDICT: 1? No.\nVERDICT: tie", "tie", id="the last counts"),
        pytest.param("VERDICT: 12", None, id="another number"),
        pytest.param("The second is better.", None, id="none"),
    ],
)
def test_a_verdict_is_read(text: str, winner: Winner | None) -> None:
    assert verdict(text, is_swapped=False) == winner


def test_swapped_the_first_is_b() -> None:
    assert verdict("VERDICT: 1", is_swapped=True) == "b"
    assert verdict("VERDICT: 2", is_swapped=True) == "a"
    assert verdict("VERDICT: tie", is_swapped=True) == "tie"
