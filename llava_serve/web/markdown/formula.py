r"""LaTeX formulas of model text as MathML, which browsers and readers of screens know.

`$a$`, `\(a\)`, `$$a$$` and `\[a\]` are formulas; what cannot be read as one is shown as it is.
"""

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import Converter
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

_LONGEST = 2000  # characters
_DEEPEST = 40  # groups within groups
_MOST_LINES = 100
_MARKS = (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$"))
_DISPLAY = ("$$", "\\[")
# A definition that uses itself twice grows without bound.
_DEFINES = re.compile(r"\\(?:(?:re)?newcommand|providecommand|[egx]?def|let|DeclareMathOperator)")
_TAGS = frozenset(
    "math menclose mfenced mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot "
    "mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover "
    "none".split()
)
# No address, style, colour or class, and no size that would cover the page.
_ATTRIBUTES = frozenset(
    "accent accentunder columnalign columnlines columnspacing display displaystyle fence form "
    "largeop linebreak linethickness lspace mathvariant maxsize minsize movablelimits notation "
    "rowlines rowspacing rspace scriptlevel separator stretchy symmetric width".split()
)
_VALUE = re.compile(r"[a-z-]{1,24}|[+-]?\d{0,2}(?:\.\d{1,4})?(?:em|ex|pt|mu|%)?")


@lru_cache(maxsize=1000)
def mathml(latex: str, *, is_display: bool) -> str | None:
    """Return a formula as MathML, or None where it cannot be read."""
    if len(latex) > _LONGEST or _depth(latex) > _DEEPEST or _DEFINES.search(latex):
        return None
    try:
        tree = Converter(display="block" if is_display else "inline").convert_to_element(latex)
        return _written(tree)
    except Exception:  # noqa: BLE001 - it has a dozen of its own, and others for the unforeseen
        return None


def _depth(latex: str) -> int:
    depth = deepest = 0
    for sign in re.findall(r"[{}]|\\left|\\right|\\begin|\\end|\\sqrt", latex):
        depth += -1 if sign in ("}", "\\right", "\\end") else 1
        deepest = max(deepest, depth)
    return deepest


def _written(element: Element) -> str:
    """Write what is allowed of an element; the library's own way lets HTML through."""
    inner = _text(element.text) + "".join(_written(child) + _text(child.tail) for child in element)
    if element.tag not in _TAGS:
        return inner
    kept = "".join(
        f' {name}="{value}"'
        for name, value in element.attrib.items()
        if name in _ATTRIBUTES and all(_VALUE.fullmatch(one) for one in value.split())
    )
    return f"<{element.tag}{kept}>{inner}</{element.tag}>"


def _text(text: str | None) -> str:
    return html.escape(html.unescape(text or ""))


def add_formulas(rules: MarkdownIt) -> None:
    """Teach a parser to read formulas, and its renderer to write them."""
    after = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    rules.block.ruler.before("fence", "formula_block", _block, after)
    rules.inline.ruler.before("escape", "formula", _inline)
    rules.add_render_rule("formula", _render)


def _inline(state: StateInline, silent: bool) -> bool:
    found = next((one for one in _MARKS if state.src.startswith(one[0], state.pos)), None)
    if found is None:
        return False
    opening, closing = found
    begin = state.pos + len(opening)
    end = _end(state.src[begin : min(state.posMax, begin + _LONGEST)], opening, closing)
    if end is None:
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content, token.markup = state.src[begin : begin + end], opening
    state.pos = begin + end + len(closing)
    return True


def _end(text: str, opening: str, closing: str) -> int | None:
    """Return where a formula ends whose mark is before `text`; None where none begins.

    Money is no formula: `$` stands at a sign on its inner side, and at no digit on its outer one.
    """
    if opening == "$" and text[:1].isspace():
        return None
    end = text.find(closing, 1)
    while end > 0:
        is_money = opening == "$" and (text[end - 1].isspace() or text[end + 1 : end + 2].isdigit())
        if not is_money and text[end - 1] != "\\":
            return end if text[:end].strip() else None
        end = text.find(closing, end + 1)
    return None


def _block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Read lines from one that begins with a mark to one that ends with it."""
    if state.is_code_block(first):
        return False
    opening, closing = next(
        (one for one in _MARKS if one[0] in _DISPLAY and _line(state, first).startswith(one[0])),
        ("", ""),
    )
    if not opening:
        return False
    lines = [_line(state, first).removeprefix(opening)]
    while not lines[-1].rstrip().endswith(closing):
        line = first + len(lines)
        is_within = line < last and state.sCount[line] >= state.blkIndent
        if not is_within or len(lines) == _MOST_LINES:
            return False
        lines.append(_line(state, line))
    content = "\n".join(lines).rstrip().removesuffix(closing)
    if closing in content or not content.strip():
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content, token.markup, token.block = content, opening, True
        token.map = [first, first + len(lines)]
    state.line = first + len(lines)
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _render(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
    token = tokens[index]
    is_display = token.markup in _DISPLAY
    made = mathml(token.content.strip(), is_display=is_display)
    if made is None:
        closing = dict(_MARKS)[token.markup]
        shown = html.escape(token.markup + token.content + closing)
        return f"<p><code>{shown}</code></p>" if token.block else f"<code>{shown}</code>"
    if is_display:
        made = f'<span class="formula" tabindex="0" role="group" aria-label="Formula">{made}</span>'
    return f"<p>{made}</p>" if token.block else made
