"""The difference of two answers says what is in one of them only, and how much was compared."""

import re

import pytest

from llava_serve.web.compare.difference import MOST_WORDS, difference
from tests.web.wordless import wordless, words_left

UNSEEN = re.compile(r'<span class="unseen">.*?</span>')


def shown(one: str, other: str) -> str:
    """What is seen, with -removed- and +added+ words."""
    _, _, text = difference(one, other, "AB").partition('<div class="text">')
    text = UNSEEN.sub("", text).removesuffix("</div>")
    return re.sub("</?del>", "-", re.sub("</?ins>", "+", text))


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("a red cat", "a red cat", "a red cat"),
        ("the red cat sits here", "the blue cat sits here", "the -red -+blue +cat sits here"),
        ("one, two", "one; two", "one-, -+; +two"),
        ("# Head\nbody", "# Head body", "# Head -\n-body"),
        ("It sits.", "It sits", "It sits-.-"),
        ("a red cat.\nIt sits", "a red cat. It sits", "a red cat. -\n-It sits"),
        ("a **bold** word", "a bold word", "a -**-bold -** -word"),
        ("我看到猫", "我看到狗", "我看到-猫-+狗+"),
        ("", "all of it", "+all of it+"),
        ("<b>x</b>", "<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
    ],
)
def test_words_that_differ_are_marked(one: str, other: str, said: str) -> None:
    assert shown(one, other) == said


def test_who_hears_it_is_told_where_each_word_stands() -> None:
    html = difference("a red cat", "a blue cat", ("A", "<B>"))
    assert '<del><span class="unseen">only in A: </span>red ' in html
    assert '<ins><span class="unseen">only in &lt;B&gt;: </span>blue ' in html
    assert "Words that only A has: 1; that only &lt;B&gt; has: 1." in html
    assert "the same, word for word" in difference("x", " x ", "AB")


def test_punctuation_is_no_word_that_differs() -> None:
    html = difference("A red cat, here.", "A red cat\nhere", "AB")
    assert "the same words; their punctuation or lines differ" in html
    assert "Words that only A has: 1; that only B has: 0." in difference("red, cat.", "red", "AB")


def test_long_answers_are_cut_and_it_is_told() -> None:
    words = [f"word{n}" for n in range(MOST_WORDS + 100)]
    html = difference(" ".join(words), " ".join([*words[:-1], "other"]), "AB")
    assert "Only the first 3,000 words" in html and "word for word" in html
    assert "Only the first" not in difference("a", "b", "AB")


def test_answers_that_repeat_one_word_are_compared_coarsely() -> None:
    html = difference("la " * MOST_WORDS, "la la, " * MOST_WORDS, "AB")
    assert "compared coarsely" in html


def test_every_word_of_it_is_in_the_catalogue() -> None:
    with wordless():
        assert words_left(difference("aa bb " * 9000, "aa " * 9000, "AB")) == {"aa", "bb"}
        assert words_left(difference("aa", "aa", "AB")) == {"aa"}
