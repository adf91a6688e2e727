"""Model text: what a model said, from Markdown to HTML without any HTML of the model's."""

import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from llava_serve.web.markdown.formula import add_formulas
from llava_serve.web.translations.language import translate

LONGEST = 200_000  # characters; some Markdown of so many takes seconds
_LONGEST_LANGUAGE = 24  # characters; what is longer names none


_ADDRESS = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)


def model_text(text: str) -> str:
    """Render what a model said; what is too long for Markdown as it is."""
    if len(text) > LONGEST:
        return f"<pre>{escapeHtml(text)}</pre>\n"
    return str(MARKDOWN.render(text))


def _is_followed(address: str) -> bool:
    return _ADDRESS.match(address) is not None


def _open_link(renderer: RendererHTML, tokens: Sequence[Token], index: int, *rest: Any) -> str:
    tokens[index].attrSet("target", "_blank")
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return renderer.renderToken(tokens, index, *rest)


def _code(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Render a block of code beneath its language and a button that copies it."""
    token = tokens[index]
    language = next(iter(token.info.split()), "")
    language = language if len(language) <= _LONGEST_LANGUAGE else ""
    return (
        f'<figure class="code"><figcaption><span>{escapeHtml(language)}</span>'
        f'<button type="button" class="copy-code" aria-label="{translate("answer.copy_code")}">'
        f"{translate('answer.copy')}</button></figcaption>"
        f'<pre tabindex="0" role="group" aria-label="{translate("answer.code")}"><code>'
        f"{escapeHtml(token.content)}</code></pre></figure>\n"
    )


def _open_table(*_: Any) -> str:
    """Open a table in what scrolls when it is too wide, by keys too."""
    label = translate("answer.table")
    return f'<figure class="table" tabindex="0" role="group" aria-label="{label}"><table>\n'


def _close_table(*_: Any) -> str:
    return "</table></figure>\n"


def _make() -> MarkdownIt:
    # A picture in model text would make the browser call an address the model chose.
    rules = MarkdownIt("commonmark", {"html": False, "breaks": True})
    rules.enable(["table", "strikethrough"]).disable(["image", "html_block", "html_inline"])
    # Every other scheme starts a program, and an address without one is of this page.
    rules.validateLink = _is_followed  # type: ignore[assignment, method-assign]
    add_formulas(rules)
    rules.add_render_rule("link_open", _open_link)
    rules.add_render_rule("fence", _code)
    rules.add_render_rule("code_block", _code)
    rules.add_render_rule("table_open", _open_table)
    rules.add_render_rule("table_close", _close_table)
    return rules


MARKDOWN = _make()
