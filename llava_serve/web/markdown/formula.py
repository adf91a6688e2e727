r"""Formulas in Markdown: `\(a\)` and `$a$` in a line, `\[a\]` and `$$a$$` as a block of their own.

What cannot be read as LaTeX is shown as it was typed.
"""

import html
import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from llava_serve.web.markdown.mathml import LONGEST, mathml
from llava_serve.web.translations.language import translate

_WIDE = 24  # signs of a formula in a line that may be wider than a phone
_DISPLAY = {"$$": "$$", "\\[": "\\]"}
_STOPS = (".", ",", ";", ":")
# Each ends at the first mark of its own kind, so that text of marks is read in one pass.
_REST = {
    "$$": re.compile(r"((?:[^$\\]+|\\.|\$(?!\$))++)\$\$", re.DOTALL),
    "\\[": re.compile(r"((?:[^\\]+|\\[^\[\]])++)\\\]", re.DOTALL),
    "\\(": re.compile(r"((?:[^\\]+|\\[^()])++)\\\)", re.DOTALL),
    # Money is no formula: no digit follows its end.
    "$": re.compile(r"((?:[^$\\]+|\\.)++)\$(?![\d$])", re.DOTALL),
}


def add_formulas(rules: MarkdownIt) -> None:
    """Teach a parser to read formulas, and its renderer to write them."""
    interrupted = ["paragraph", "reference", "blockquote", "list"]
    rules.block.ruler.before("fence", "formula_block", _block, {"alt": interrupted})
    rules.inline.ruler.before("escape", "formula", _inline)
    rules.add_render_rule("formula", _render)


def _inline(state: StateInline, silent: bool) -> bool:
    begin = state.pos
    if state.src[begin] not in "$\\":
        return False
    opening = next((one for one in _REST if state.src.startswith(one, begin)), None)
    if opening is None or (opening == "$" and not _may_open(state.src, begin)):
        return False
    first = begin + len(opening)
    found = _REST[opening].match(state.src, first, min(state.posMax, first + LONGEST))
    if found is None or not found[1].strip() or (opening == "$" and found[1][-1].isspace()):
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content, token.markup = found[1], opening
        token.info = state.src[begin : found.end()]
    state.pos = found.end()
    return True


def _may_open(text: str, dollar: int) -> bool:
    """Tell whether a dollar sign begins a formula: not `US$5`, `$$` or `$ `."""
    before, after = text[dollar - 1 : dollar], text[dollar + 1 : dollar + 2]
    return not (after.isspace() or before == "$" or (before.isascii() and before.isalnum()))


def _block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Read a line that is a formula, or lines from a mark that stands alone to a blank line.

    The first line decides, so that what an answer adds later moves no earlier block.
    """
    if state.is_code_block(first):
        return False
    begin = state.bMarks[first] + state.tShift[first]
    opening = state.src[begin : begin + 2]
    if opening not in _DISPLAY:
        return False
    lines = [_line(state, first)]
    is_alone = lines[0] == opening
    latex = None if is_alone else _of_one_line(lines[0], opening)
    if latex is None and not is_alone:
        return False
    if silent:
        return lines[0] != "$$" or not _is_open(state, first)
    while is_alone and latex is None and _goes_on(state, first + len(lines), last):
        lines.append(_line(state, first + len(lines)))
        if (end := _before_mark(lines[-1], _DISPLAY[opening])) is not None:
            latex = "\n".join([*lines[1:-1], end])
    state.line = first + len(lines)
    token = state.push("formula", "", 0)
    token.content, token.markup, token.info = latex or "", opening, "\n".join(lines)
    token.map = [first, state.line]
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()


def _goes_on(state: StateBlock, line: int, last: int) -> bool:
    return line < last and not state.isEmpty(line) and state.sCount[line] >= state.blkIndent


def _of_one_line(line: str, opening: str) -> str | None:
    found = _REST[opening].match(line, len(opening), LONGEST)
    after = line[found.end() :] if found else None
    return found[1] + after if found and after in ("", *_STOPS) else None


def _before_mark(line: str, closing: str) -> str | None:
    """Return what stands before the mark that ends a line, with the full stop after it."""
    stop = line[-1:] if line.endswith(_STOPS) else ""
    bare = line.removesuffix(stop).rstrip()
    before = bare.removesuffix(closing)
    is_escaped = (len(before) - len(before.rstrip("\\"))) % 2
    return None if before == bare or is_escaped else before + stop


def _is_open(state: StateBlock, line: int) -> bool:
    """Tell whether `$$` on a line ends a formula that began at the end of a line before it."""
    mark = state.src.rfind("$$", state.bMarks[state.line], state.bMarks[line])
    begin, end = state.src.rfind("\n", 0, max(mark, 0)) + 1, state.src.find("\n", mark)
    before = state.src[begin:end].strip() if mark >= 0 else ""
    return before != "$$" and before.endswith("$$") and before.count("$$") == 1


def _render(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
    token = tokens[index]
    is_display = token.markup in _DISPLAY
    made = mathml(token.content.strip(), is_display=is_display)
    if made is None:
        made = f'<code class="unread">{html.escape(token.info)}</code>'
    elif is_display or _is_wide(made):
        name = "formula" if is_display else "formula inline"
        label = translate("answer.formula")
        made = f'<span class="{name}" tabindex="0" role="group" aria-label="{label}">{made}</span>'
    return f"<p>{made}</p>\n" if token.block else made


def _is_wide(made: str) -> bool:
    signs = len(html.unescape(re.sub("<[^>]*>", "", made)))
    spaces_em = sum(map(float, re.findall(r' width="([\d.]+)em"', made)))
    return signs + 2 * spaces_em > _WIDE
