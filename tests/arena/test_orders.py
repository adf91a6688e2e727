"""What a judge says of both orders is one verdict."""

from llava_serve.arena.orders import together


def test_orders_that_disagree_are_a_tie() -> None:
    assert together("a", "a") == "a"
    assert together("a", "b") == together("a", "tie") == together("both_bad", "b") == "tie"
    assert together("both_bad", "both_bad") == "both_bad"
