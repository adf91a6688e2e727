"""Formulas are found in Markdown; money, code and what is broken stay as they were typed."""

import html

import pytest

from llava_serve.web.markdown.model_text import model_text

INLINE = '<math display="inline"><mrow><msup><mi>a</mi><mn>2</mn></msup></mrow></math>'
DISPLAY = INLINE.replace("inline", "block")


@pytest.mark.parametrize(
    "text",
    [
        "so $a^2$ is",
        "so \\(a^2\\) is",
        "so \\( a^2 \\) is",
        "**so $a^2$**.",
        "- so $a^2$",
        "| a |\n|---|\n| $a^2$ |",
        "## $a^2$",
        "$5 is no formula, $a^2$ is",
        "\\\\$a^2$",
        "设$a^2$为",
    ],
)
def test_a_formula_in_a_line(text: str) -> None:
    assert INLINE in model_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "$$a^2$$",
        "\\[a^2\\]",
        "\\[ a^2 \\]",
        "so:\n$$\na^2\n$$\nand",
        "so:\n$$a^2$$\nand",
        "so: $$\na^2\n$$\nand",
        "\\[\na^2\n\\]",
        "$$\na^2$$",
        "1. so\n   \\[\n   a^2\n   \\]\n2. and",
        "- so\n  $$\n  a^2\n  $$",
        "> $$\n> a^2\n> $$",
        "so $$a^2$$ is",
        "so \\[a^2\\] is",
    ],
)
def test_a_formula_of_its_own(text: str) -> None:
    made = model_text(text)
    assert DISPLAY in made and 'class="formula" tabindex="0"' in made
    assert "$" not in made and "\\" not in made


def test_lines_that_look_like_lists_are_of_the_formula() -> None:
    made = model_text("so:\n$$\na\n- b\n+ c\n# d\n= e\n$$\nafter")
    assert made.count("<math") == 1 and "<li>" not in made and "<h" not in made
    assert made.endswith("<p>after</p>\n")


def test_a_full_stop_may_follow_a_formula() -> None:
    for text in ("\\[\na\n\\].", "\\[a\\]."):
        assert "<mi>a</mi><mo>.</mo>" in model_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 and $10",
        "it costs $5",
        "$5-$6",
        "US$5 or A$ 6",
        "a $ b $ c",
        "$HOME and $PATH",
        "`$a$`",
        "``\\(a\\)``",
        "    $a$",
        "\\$a\\$",
        "$a",
        "$$",
        "$$$$",
        "$$ $$",
        "$$a$",
        "\\(a",
        "\\(a\\]",
        "```\n$$\na\n$$\n```",
        "$$\nunclosed\n\nand more\n$$",
    ],
)
def test_what_is_no_formula_stays_text(text: str) -> None:
    assert "<math" not in model_text(text)


def test_money_is_shown_as_it_was_typed() -> None:
    assert model_text("$5 and $10 *each*") == "<p>$5 and $10 <em>each</em></p>\n"


def test_a_blank_line_ends_a_formula() -> None:
    made = model_text("$$\na\n\n- b\n")
    assert '<code class="unread">$$\na</code>' in made and "<li>b</li>" in made


@pytest.mark.parametrize(
    "text",
    [
        "$\\unknown_a *b* <i>$",
        "\\(\\frac{a}{\\)",
        "$$\\begin{a}$$",
        "\\[\n\\left( a <b> *c*\n\\]",
        "$$\n" + "x + " * 1000 + "\n$$",
    ],
)
def test_a_broken_formula_is_shown_as_it_was_typed(text: str) -> None:
    typed = "\n".join(line.rstrip() for line in text.splitlines())
    assert f'<code class="unread">{html.escape(typed)}</code>' in model_text(text)


def test_a_long_formula_in_a_line_scrolls() -> None:
    assert "formula inline" in model_text(f"${' + '.join('abcdefghijklmn')}$")
    assert "formula inline" in model_text("$a \\hspace{9em}\\hspace{9em} b$")
    assert "formula" not in model_text("$a^2 + b^2$")
