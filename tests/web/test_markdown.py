"""Model text and user text can carry neither HTML nor pictures."""

import pytest

from llava_serve.web.markdown import model_text, plain_text

ATTACKS = [
    pytest.param("<img src=http://example.invalid/x.png>", id="img"),
    pytest.param("![x](http://example.invalid/x.png)", id="markdown image"),
    pytest.param("![x][y]\n\n[y]: http://example.invalid/x.png", id="image by reference"),
    pytest.param("[![x](http://example.invalid/x.png)](http://e.invalid)", id="image in a link"),
    pytest.param("<script>alert(1)</script>", id="script"),
    pytest.param('<div style="background:url(http://example.invalid/x)">', id="style"),
    pytest.param("a <svg onload=alert(1)> b", id="inline html"),
    pytest.param("[x](javascript:alert(1))", id="script link"),
    pytest.param("[x](data:text/html,<script>alert(1)</script>)", id="data link"),
    pytest.param("```html\n<img src=x>\n```", id="code"),
    pytest.param('| <img src=x> |\n|---|\n| "onerror= |', id="table"),
    pytest.param("<http://example.invalid/<img src=x>>", id="autolink"),
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_model_text_fetches_and_runs_nothing(attack: str) -> None:
    made = model_text(attack)
    for forbidden in ("<img", "<script", "<svg", "<div", 'href="javascript', 'href="data'):
        assert forbidden not in made


@pytest.mark.parametrize("attack", ATTACKS)
def test_user_text_is_shown_letter_by_letter(attack: str) -> None:
    assert "<" not in plain_text(attack)


def test_markdown_is_rendered() -> None:
    made = model_text("**bold** and `code`\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |")
    for tag in ("<strong>bold</strong>", "<code>code</code>", "<li>one</li>", "<td>1</td>"):
        assert tag in made


def test_links_open_elsewhere_and_tell_nothing() -> None:
    made = model_text("[docs](https://example.org)")
    assert 'href="https://example.org"' in made
    assert 'target="_blank"' in made and "noopener noreferrer" in made


def test_single_line_breaks_are_kept() -> None:
    assert "<br" in model_text("one\ntwo")
