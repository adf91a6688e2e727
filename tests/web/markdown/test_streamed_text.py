"""An answer that grows looks as the whole would, and each block is rendered once."""

from typing import Any

import pytest
from markdown_it.token import Token

from llava_serve.web.markdown.model_text import MARKDOWN, model_text
from llava_serve.web.markdown.streamed_text import StreamedText

ANSWER = """# Title
A paragraph with **bold** text
of two lines.

- one

- two
  ```python
  a < b
  ```
1. other list
> quoted
lazily

| a | b |
|---|---|
| 1 | 2 |

Setext
===
    indented

    more of it
***
so
$$
a
- b
# c
$$ and
$$, d
$$
e
$$$5 and $a^2$ and \\(b\\) and $$
c
$$
\\[d\\]
\\[e\\] is
***no rule
| no |
|--no table

1. f
   \\[
   g
   \\].
$$
not closed

after
```
<b>not closed
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("step", [1, 7])
def test_every_beginning_looks_as_if_it_were_the_whole(step: int, newline: str) -> None:
    answer, growing = ANSWER.replace("\n", newline), StreamedText()
    for end in range(0, len(answer) + 1, step):
        assert growing.render(answer[:end]) == model_text(answer[:end])


def test_a_text_that_is_another_begins_anew() -> None:
    growing = StreamedText()
    growing.render("one\n\ntwo\n\nthree")
    assert growing.render("other") == model_text("other")


def test_the_work_grows_with_the_answer_and_not_with_its_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed = 0
    parse = MARKDOWN.parse

    def counted(text: str, env: dict[str, object]) -> object:
        nonlocal parsed
        parsed += len(text)
        return parse(text, env)

    monkeypatch.setattr(MARKDOWN, "parse", counted)
    growing, text = StreamedText(), ""
    for number in range(300):
        text += f"Paragraph {number} has a few words.\n\n"
        growing.render(text)
    assert parsed < 4 * len(text)


@pytest.mark.parametrize("line", ["- an item of **two** words <b>\n", "| a | <b> |\n"])
def test_a_long_block_is_rendered_again_when_it_has_grown(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    rendered = 0
    render = MARKDOWN.renderer.render

    def counted(tokens: list[Token], *rest: Any) -> str:
        nonlocal rendered
        rendered += len(tokens)
        return str(render(tokens, *rest))

    monkeypatch.setattr(MARKDOWN.renderer, "render", counted)
    growing, text = StreamedText(), "| c | d |\n|---|---|\n" if line[0] == "|" else ""
    for _ in range(400):
        text += line
        shown = growing.render(text)
        assert shown.count("&lt;b&gt;") == text.count("<b>") and "<b>" not in shown
    once = len(MARKDOWN.parse(text))
    assert rendered < 40 * once  # 200 times if each line had it rendered
    assert growing.render("another") == "<p>another</p>\n"
