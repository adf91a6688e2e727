"""Tokens are shown with the levels of their probabilities, and as nothing but text."""

import html
import json
import math
import re

import pytest

from llava_serve.web.inspection.buttons import buttons
from llava_serve.web.inspection.probabilities import MOST_TOKENS, ToldToken
from llava_serve.web.inspection.token_view import token_view
from llava_serve.web.reply import StreamedReply
from tests.web.wordless import wordless, words_left


def option(view: str) -> tuple[str, list[object]]:
    """Return the level of the only token, and what a script is told about it."""
    found = re.search(r'role="option" class="([^"]+)" data-about="([^"]+)"', view)
    assert found is not None
    return found[1], json.loads(html.unescape(found[2]))


@pytest.mark.parametrize(
    ("probability", "level"), [(0.95, 3), (0.9, 3), (0.6, 2), (0.3, 1), (0.05, 0)]
)
def test_the_less_sure_the_stronger_the_underline(probability: float, level: int) -> None:
    top = ((" red", math.log(probability)), (" blue", math.log(0.01)))
    told = option(token_view("", [ToldToken(" red", math.log(probability), top)]))
    share = round(100 * probability, 1)
    assert told == (f"level-{level}", [" red", share, [[" red", share], [" blue", 1.0]]])


def test_a_token_is_no_html() -> None:
    evil = '"><img src=x onerror=alert(1)>'
    view = token_view(evil, [ToldToken(evil, -1.0, ((evil, -1.0),))])
    assert "<img" not in view
    assert option(view)[1][0] == evil


def test_a_line_end_can_be_seen() -> None:
    assert "\u21b5</b>\n</span>" in token_view("", [ToldToken("\n", -0.1)])


def test_what_was_given_stands_before_the_tokens_and_a_cut_is_told() -> None:
    view = token_view("given", [ToldToken("x", -0.1)])
    assert view.index("given") < view.index('role="listbox"')
    assert "Only the first" not in view
    assert f"Only the first {MOST_TOKENS:,}" in token_view("", [ToldToken("x", -1)] * MOST_TOKENS)


def test_only_an_ended_answer_with_tokens_offers_them() -> None:
    reply = StreamedReply("m", state="running", tokens=[ToldToken("x", -0.1)])
    assert buttons(reply, "0.0") == ""
    reply.state = "done"
    assert 'data-tokens="0.0"' in buttons(reply, "0.0")
    assert "data-tokens" not in buttons(StreamedReply("m", state="done"), "0.0")
    assert "data-inspect" in buttons(StreamedReply("m", state="failed"), "0.0")
    assert buttons(StreamedReply("", state="failed"), "0.0") == ""


def test_every_word_of_it_is_in_the_catalogue() -> None:
    with wordless():
        view = token_view("", [ToldToken("red", -1.0)] * MOST_TOKENS)
        assert words_left(view) == {"ab", "red"}
        assert words_left(buttons(StreamedReply("m", state="done"), "0.0")) == set()
