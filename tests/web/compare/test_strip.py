"""What stands beneath the answers of a comparison: their measurements, the best of each marked."""

import re
from pathlib import Path

import pytest

from llava_serve.web import render
from llava_serve.web.chat_state import Exchange
from llava_serve.web.compare.fingerprint import Fingerprint
from llava_serve.web.compare.prices import Price, Prices, read_prices
from llava_serve.web.compare.strip import beneath
from llava_serve.web.reply import StreamedReply
from tests.web.wordless import wordless, words_left

PRICES = Prices(currency="EUR", models={"dear": Price(input=2, output=8)})


def ended(
    model: str, first_s: float, per_s: float | None, tokens: tuple[int, int]
) -> StreamedReply:
    reply = StreamedReply(model, text="four", first_delta=first_s)
    reply.prompt_tokens, reply.completion_tokens = tokens
    reply.end("done", 9.0)
    reply.tokens_per_s = per_s
    return reply


def cells(strip: str) -> dict[str, str]:
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", strip)
    return {name: re.sub("<.*?>", "", value) for name, value in pairs}


def test_the_best_of_each_row_is_said_in_words() -> None:
    quick, slow = ended("a", 0.2, 9.5, (700, 30)), ended("b", 0.5, 20, (700, 20))
    (one, two), _ = beneath(Exchange("q", (), [quick, slow]))
    assert cells(one) == {
        "first token": "0.20 s ★ soonest",
        "speed": "9.5 tokens/s",
        "used": "700 tokens in, 30 out",
    }
    assert cells(two) == {
        "first token": "0.50 s",
        "speed": "20.0 tokens/s ★ fastest",
        "used": "700 tokens in, 20 out ★ fewest",
    }


def test_equal_values_and_answers_that_are_not_whole_have_no_best() -> None:
    same = [ended("a", 0.5, None, (7, 3)), ended("b", 0.5, None, (7, 3))]
    strips, _ = beneath(Exchange("q", (), same))
    assert all("★" not in strip and "speed" not in cells(strip) for strip in strips)
    stopped = ended("c", 0.1, None, (1, 1))
    stopped.state = "stopped"
    strips, _ = beneath(Exchange("q", (), [*same, stopped]))
    assert all("★" not in strip for strip in strips)
    strips, _ = beneath(Exchange("q", (), [*same, StreamedReply("d", state="running")]))
    assert all("★" not in strip for strip in strips)


def test_two_that_are_best_are_both_marked() -> None:
    replies = [
        ended(name, wait_s, None, (7, 3)) for name, wait_s in zip("abc", (1, 1, 2), strict=True)
    ]
    strips, _ = beneath(Exchange("q", (), replies))
    assert ["★" in strip for strip in strips] == [True, True, False]


def test_a_cost_is_shown_where_the_operator_states_a_price() -> None:
    replies = [ended("dear", 1, None, (1000, 500)), ended("free", 1, None, (1, 1))]
    (one, two), _ = beneath(Exchange("q", (), replies), PRICES)
    assert cells(one)["cost"] == "0.006000 EUR" and cells(two)["cost"] == "-"
    (one, _), _ = beneath(Exchange("q", (), replies))
    assert "cost" not in cells(one)


@pytest.mark.parametrize(
    ("cost", "said"),
    [(0, "0.00 EUR"), (1e-9, "< 0.000001 EUR"), (0.000012, "0.000012 EUR"), (12.345, "12.35 EUR")],
)
def test_costs_small_and_large(cost: float, said: str) -> None:
    assert PRICES.shown(cost) == said


def test_prices_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"models": {"m": {"input": 0.5, "output": 1}}}')
    assert read_prices(file).cost("m", 1_000_000, 2_000_000) == 2.5
    assert read_prices(file).currency == "USD"
    for wrong in ("{", '{"models": {"m": {"input": -1, "output": 1}}}', '{"model": {}}'):
        file.write_text(wrong)
        with pytest.raises(SystemExit, match=r"--prices .*per million tokens"):
            read_prices(file)
    with pytest.raises(SystemExit, match="cannot be read"):
        read_prices(tmp_path / "none.json")


def test_the_fingerprint_stands_beneath_each_answer_and_one_mark_beneath_all() -> None:
    replies = [ended("a", 1, None, (7, 3)), ended("b", 1, None, (7, 3))]
    for reply in replies:
        reply.fingerprint = Fingerprint({"seed": 5, "question": "x", "files": []})
    shown = render.replies(Exchange("q", (), replies), 0, beneath)
    assert shown.count(replies[0].fingerprint.digest) == 2  # type: ignore[union-attr]
    assert shown.count("Same input: question, seed 5") == 1 and "Show differences" in shown
    replies[1].fingerprint = Fingerprint({"seed": 6, "question": "x", "files": []})
    shown = render.replies(Exchange("q", (), replies), 0, beneath)
    assert "Not the same input: B was asked with seed 6" in shown
    replies[1].fingerprint = None
    assert "ame input" not in render.replies(Exchange("q", (), replies), 0, beneath)


def test_every_word_of_it_is_in_the_catalogue() -> None:
    replies = [ended("dear", 1, 2.5, (1000, 500)), ended("dear", 2, 5, (1, 1))]
    for seed, reply in enumerate(replies):
        reply.fingerprint = Fingerprint({"seed": seed})
    with wordless():
        strips, below = beneath(Exchange("q", (), replies), PRICES)
        assert words_left(re.sub("<code.*?</code>", "", "".join(strips)) + below) == {"EUR"}
