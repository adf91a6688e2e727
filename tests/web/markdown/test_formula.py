"""Formulas become MathML; what is none, and what is hostile, stays text."""

import time

import pytest

from llava_serve.web.markdown.formula import mathml
from llava_serve.web.markdown.model_text import model_text

INLINE = '<math display="inline"><mrow><msup><mi>a</mi><mn>2</mn></msup></mrow></math>'
DISPLAY = INLINE.replace("inline", "block")


@pytest.mark.parametrize("text", ["so $a^2$ is", "so \\(a^2\\) is", "**so** $a^2$.", "- so $a^2$"])
def test_a_formula_in_a_line(text: str) -> None:
    assert INLINE in model_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "$$a^2$$",
        "\\[a^2\\]",
        "so:\n$$\na^2\n$$\nand",
        "\\[\na^2\n\\]",
        "> $$\n> a^2\n> $$",
        "so $$a^2$$ is",
    ],
)
def test_a_formula_of_its_own(text: str) -> None:
    made = model_text(text)
    assert DISPLAY in made and 'class="formula" tabindex="0"' in made


def test_lines_that_look_like_lists_are_of_the_formula() -> None:
    made = model_text("$$\na\n- b\n+ c\n= d\n$$\n\nafter")
    assert made.count("<math") == 1 and "<li>" not in made and "<h" not in made
    assert "<p>after</p>" in made


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 and $6",
        "$5-$6",
        "a $ b $ c",
        "`$a$`",
        "    $a$",
        "\\$a\\$",
        "$a",
        "$$",
        "\\(a",
        "```\n$$\na\n$$\n```",
        "$$\nunclosed\n\nand more",
    ],
)
def test_what_is_no_formula_stays_text(text: str) -> None:
    assert "<math" not in model_text(text)


@pytest.mark.parametrize(
    "latex",
    [
        r"\text{<img src=x onerror=alert(1)>}",
        r"\text{</math><script>alert(1)</script>}",
        r"\text{&lt;img src=x&gt;}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{position:fixed}{x}",
        r"\class{card}{x}",
        r"\color{red;background:url(http://example.invalid)}{x}",
        r"\mathrm{<svg onload=alert(1)>}",
        r"\hspace{99999em}x",
        r"\begin{array}{<b>}x\end{array}",
        "<img src=x>",
    ],
)
def test_a_formula_fetches_covers_and_runs_nothing(latex: str) -> None:
    for text in (f"${latex}$", f"$$\n{latex}\n$$"):
        made = model_text(text)
        for forbidden in (
            "<img",
            "<script",
            "<svg",
            "<b>",
            "href",
            "style=",
            'class="card',
            "url(",
            '99999em"',
        ):
            assert forbidden not in made.replace(f"{latex}", ""), made


@pytest.mark.parametrize(
    "latex",
    [
        r"\newcommand{\a}{\b\b}\newcommand{\b}{\a\a}\a",
        r"\def\a{\a\a}\a",
        "{" * 500 + "}" * 500,
        r"\frac{" * 300,
        r"\left(" * 300,
        r"\sqrt" * 1000,
        "a^" * 900,
        "_",
        "x" * 5000,
    ],
)
def test_what_cannot_be_read_is_shown_as_it_is(latex: str) -> None:
    assert mathml(latex, is_display=False) is None
    assert f"${latex[:20]}" in model_text(f"$$\n{latex}\n$$").replace(
        "$\n", "$"
    ) or "<math" not in (model_text(f"$$\n{latex}\n$$"))


@pytest.mark.parametrize("mark", ["$a ", "$$a ", "\\(a ", "\\[a ", "$$\na\n\n", "$ a$1 "])
def test_marks_that_are_never_closed_cost_no_more_than_their_length(mark: str) -> None:
    def spent_s(count: int) -> float:
        began = time.thread_time()
        model_text(mark * count)
        return time.thread_time() - began

    once = min(spent_s(1000) for _ in range(3))
    assert min(spent_s(10_000) for _ in range(2)) < 40 * max(once, 0.002)
