"""Model text as safe HTML: Markdown without raw HTML and without pictures."""

import html
from collections.abc import MutableMapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict


def _open_link(
    renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    _: MutableMapping[str, Any],
) -> str:
    tokens[index].attrSet("target", "_blank")
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return renderer.renderToken(tokens, index, options, {})


def _make() -> MarkdownIt:
    # A picture in model text would make the browser call an address the model chose.
    rules = MarkdownIt("commonmark", {"html": False, "breaks": True})
    rules.enable(["table", "strikethrough"]).disable(["image", "html_block", "html_inline"])
    rules.add_render_rule("link_open", _open_link)
    return rules


_MARKDOWN = _make()


def model_text(text: str) -> str:
    """Render what a model said."""
    return str(_MARKDOWN.render(text))


def plain_text(text: str) -> str:
    """Render what a user typed, or any other text: nothing in it means anything."""
    return html.escape(text)
