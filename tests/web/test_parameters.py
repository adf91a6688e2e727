"""What is typed into the parameters becomes the fields of a request."""

import pytest

from llava_serve.web.parameters import Parameters


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        pytest.param("", {}, id="empty: another draw each time"),
        pytest.param(" 7 ", {"seed": 7}, id="a number"),
        pytest.param("0", {"seed": 0}, id="zero is a seed"),
        pytest.param("seven", {"seed": "seven"}, id="no number: the worker says so by name"),
    ],
)
def test_a_seed_is_sent_only_when_one_was_typed(typed: str, sent: dict[str, object]) -> None:
    assert Parameters(seed=typed).fields() == sent
