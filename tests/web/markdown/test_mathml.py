"""LaTeX becomes MathML that browsers know; what is hostile or unknown becomes none."""

import re

import pytest

from llava_serve.web.markdown.mathml import LONGEST, mathml


@pytest.mark.parametrize(
    ("latex", "made"),
    [
        ("a^2", "<msup><mi>a</mi><mn>2</mn></msup>"),
        (r"\frac{a}{b}", "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>"),
        (r"\mathbb{R}", "<mi>\N{DOUBLE-STRUCK CAPITAL R}</mi>"),
        (r"a < b", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"),
        (r"\not=", "<mo>\N{NOT EQUAL TO}</mo>"),
        (r"5\%", "<mn>5</mn><mi>%</mi>"),
        (r"\text{if } x", "<mtext>if\xa0</mtext><mi>x</mi>"),
        (r"\boxed{x}", '<menclose notation="box"><mrow><mi>x</mi></mrow></menclose>'),
    ],
)
def test_a_formula_is_mathml(latex: str, made: str) -> None:
    assert mathml(latex, is_display=False) == f'<math display="inline"><mrow>{made}</mrow></math>'


@pytest.mark.parametrize(
    "latex",
    [
        r"\begin{aligned} a &= b \\[4pt] &= c \end{aligned}",
        r"\begin{align*} a &= b \\ &= c \end{align*}",
        r"\begin{cases} 1 & a \\ 0 & b \end{cases}",
        r"\begin{dcases} 1 & a \\ 0 & b \end{dcases}",
        r"\begin{gathered} a \\ b \end{gathered}",
        r"\begin{array}{c|c} a & b \\ c & d \end{array}",
        r"\left[\begin{matrix} a \\ b \end{matrix}\right]",
        r"a \\ b",
    ],
)
def test_rows_stand_beneath_each_other(latex: str) -> None:
    made = mathml(latex, is_display=True)
    assert made is not None
    assert made.count("<mtr>") == 2 and "&amp;" not in made and "4pt" not in made


def test_columns_are_aligned() -> None:
    made = mathml(r"\begin{aligned} a &= b \end{aligned}", is_display=True)
    assert made is not None
    assert re.findall(r'columnalign="(\w+)"', made) == ["right", "left"]


@pytest.mark.parametrize(
    "latex",
    [
        r"\text{<img src=x onerror=alert(1)>}",
        r"\text{</math><script>alert(1)</script>}",
        r"\text{&lt;img src=x&gt;}",
        r"\text{&amp;lt;img src=x&amp;gt;}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{position:fixed}{x}",
        r"\class{card}{x}",
        r"\color{red;background:url(http://example.invalid)}{x}",
        r"\textcolor{red}{x}",
        r"\colorbox{red}{x}",
        r"\fcolorbox{red}{red}{x}",
        r"\mathrm{<svg onload=alert(1)>}",
        r"\operatorname{<b>}",
        r"\verb|<img src=x>|",
        r"\unicode{x3c}img src=x\unicode{x3e}",
        r"\hspace{99999em}x",
        r"\hspace{-5em}x",
        r"\rule{99em}{99em}",
        r"\raise{99em}{x}",
        r"\above{99em} x",
        r"\rlap{x}",
        r"\begin{array}{<b>}x\end{array}",
        "<img src=x>",
        r"\Huge x",
    ],
)
def test_a_formula_fetches_covers_and_runs_nothing(latex: str) -> None:
    made = mathml(latex, is_display=True) or ""
    tags = set(re.findall(r"<(?!/)([^\s>]+)", made))
    names = set(re.findall(r' ([\w-]+)="', "".join(re.findall("<[^>]*>", made))))
    assert all(tag.startswith("m") and tag.isalpha() for tag in tags)
    assert names <= {"display", "displaystyle", "scriptlevel", "mathvariant", "stretchy"}


@pytest.mark.parametrize(
    "latex",
    [
        "",
        "  ",
        r"\newcommand{\a}{\b\b}\newcommand{\b}{\a\a}\a",
        r"\def\a{\a\a}\a",
        r"\newenvironment{a}{\begin{a}\begin{a}}{}\begin{a}\end{a}",
        r"\sideset{}{}" * 30 + "a",
        r"\\\[1em]def\a{x}\\\[1em]def\b{{\a}{\a}}\b",
        r"\\\[1em]newcommand{\a}{x}\a",
        "{" * 500 + "}" * 500,
        r"\frac{" * 300,
        r"\left(" * 300,
        r"\sqrt" * 400,
        r"\hat" * 100 + "x",
        "a^" * 900,
        "_",
        "$",
        "a $ b",
        r"\unknowncommand x",
        r"\begin{tikzpicture} a \end{tikzpicture}",
        r"\begin{matrix} a",
        r"a \end{matrix}",
        "x" * (LONGEST + 1),
        "x" * (LONGEST - 1),  # as many elements
    ],
)
def test_what_cannot_be_read_is_none(latex: str) -> None:
    assert mathml(latex, is_display=False) is None
