"""Streamed text: Markdown of an answer that grows, in which each block is rendered once."""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

from llava_serve.web.markdown.model_text import LONGEST, MARKDOWN, model_text

_ANSWERS = 500  # more than are streamed at once
_LONG = 400  # tokens of Markdown, some milliseconds of work
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)")  # one that is whole
_GROWN = 8  # a long block is rendered again when this fraction of it is added


class _Drawn(NamedTuple):
    """What was rendered: blocks that are whole, and a last one that is long to render."""

    source: str = ""
    whole: str = ""
    last_source: str = ""
    last: str = ""


class StreamedText:
    """Knows the blocks that are whole: what follows changes nothing in them.

    One exception is left to the end of the answer, which is rendered as a whole: an address that
    is given for a link further up. A long list or table is one block: what is added to it is plain
    until it has grown by an eighth, so that the work stays in proportion to its length.
    """

    def __init__(self) -> None:
        self._drawn = _Drawn()  # replaced as a whole: threads draw the same answer

    def render(self, text: str) -> str:
        """Render all of a text that begins with what was rendered before."""
        if len(text) > LONGEST:
            return model_text(text)
        drawn = self._drawn
        if not text.startswith(drawn.source + drawn.last_source):
            drawn = _Drawn()
        rest = text[len(drawn.source) :]
        added = rest[len(drawn.last_source) :]
        if drawn.last and len(added) * _GROWN < len(rest):
            plain = f"<p>{escapeHtml(added)}</p>" if added.strip() else ""
            return drawn.whole + drawn.last + plain
        env: dict[str, Any] = {}
        tokens = MARKDOWN.parse(rest, env)
        begin, ended = _begin_of_last(tokens, rest)
        before = MARKDOWN.renderer.render(tokens[:begin], MARKDOWN.options, env)
        last = MARKDOWN.renderer.render(tokens[begin:], MARKDOWN.options, env)
        source, whole = drawn.source + ended, drawn.whole + before
        is_long = sum(1 + len(one.children or ()) for one in tokens[begin:]) > _LONG
        self._drawn = _Drawn(source, whole, *((rest[len(ended) :], last) if is_long else ()))
        return str(whole + last)


def _begin_of_last(tokens: list[Token], text: str) -> tuple[int, str]:
    """Return the first token of the last block whose kind is certain, and the text before it.

    The line that a block begins with and the one after it may each make another block of it, as
    long as they are not whole.
    """
    lines = _LINE.findall(text)
    for index in range(len(tokens) - 1, 0, -1):
        one = tokens[index]
        if one.level == 0 and one.nesting >= 0 and one.map and one.map[0] + 2 <= len(lines):
            return index, "".join(lines[: one.map[0]])
    return 0, ""


@lru_cache(maxsize=_ANSWERS)
def streamed_text(request_id: str, language: str) -> StreamedText:
    """Return what is known of the answer to a request, for pages in a language (BCP 47)."""
    return StreamedText()
