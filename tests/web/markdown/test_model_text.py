"""Code can be copied, tables scroll, and hostile text costs no more than its length."""

import re
import time

import pytest

from llava_serve.web.markdown.model_text import LONGEST, model_text
from llava_serve.web.markdown.streamed_text import StreamedText


def test_code_has_its_language_and_a_button_and_stays_letter_by_letter() -> None:
    made = model_text('```python title=<b>\nif a < b:\n    "<img src=x>"\n```\n\n    indented <i>')
    assert made.count('<figure class="code">') == made.count('class="copy-code"') == 2
    assert "<span>python</span>" in made
    assert "if a &lt; b:\n    &quot;&lt;img src=x&gt;&quot;\n" in made
    assert "<img" not in made and "<b>" not in made and "<i>" not in made


def test_a_language_that_is_none_is_left_out() -> None:
    assert "<span></span>" in model_text(f"```{'x' * 500}\ncode\n```")
    assert '<span>"onclick=' not in model_text('```"onclick=\ncode\n```')


def test_a_table_scrolls_within_the_answer() -> None:
    made = model_text("| a | b |\n|---|---|\n| 1 | <script> |")
    assert re.search(r'<figure class="table" tabindex="0".*</table></figure>', made, re.DOTALL)
    assert "<script" not in made


# A text and what of it is repeated; none may take more time for a letter when it is long.
HOSTILE = {
    "brackets": "[",
    "pairs of brackets": "[a](",
    "stars": "*a ",
    "stars and lines": "**_",
    "back-ticks": "`a``b",
    "quotes": "> ",
    "a list in a list": "- ",
    "half a table": "| a ",
    "half a tag": "<a ",
    "half a picture": "![a](",
    "entities": "&amp",
    "crossed out": "~~a",
    "escapes": "\\",
    "dollars that money follows": "$1",
    "dollars that end nothing": "$a ",
    "escaped dollars": "$\\$",
    "escapes before dollars": "\\\\$a",
    "doubled dollars": "$$a ",
    "trebled dollars": "$$$",
    "dollars of three kinds": "$a$1 $$b ",
    "dollars on lines of their own": "a $$\n$$\n",
    "formulas that are not closed": "\\(a \\[b ",
    "blocks that are not closed": "$$\na\n\n",
    "formulas": "$a$ ",
    "broken formulas": "$\\a$ ",
}


def test_a_text_that_is_too_long_for_markdown_is_shown_as_it_is() -> None:
    text = "**a** <b> " * (LONGEST // 10)
    assert model_text(text).startswith("<p><strong>a</strong> &lt;b&gt;")
    longer = text + "*"
    assert model_text(longer) == StreamedText().render(longer)
    assert model_text(longer).startswith("<pre>**a** &lt;b&gt; **a**")


def spent_s(text: str) -> float:
    began = time.thread_time()
    made = model_text(text)
    assert "<img" not in made
    return time.thread_time() - began


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_costs_no_more_than_its_length(case: str) -> None:
    """Ten times the text: a hundred times the work if it were squared."""
    once = min(spent_s(HOSTILE[case] * 1000) for _ in range(3))
    assert min(spent_s(HOSTILE[case] * 10_000) for _ in range(2)) < 40 * max(once, 0.002)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("```py\na < b", "a &lt; b"),
        ("| a |\n|--", "<th>a</th>"),
        ("**bold", "**bold"),
        ("[x](http://", "[x](http://"),
        ("$$ a", "$$ a"),
    ],
)
def test_what_is_not_closed_yet_is_shown(text: str, shown: str) -> None:
    assert shown in model_text(text)
