"""Streamed text: Markdown of an answer that grows, in which each block is rendered once."""

from functools import lru_cache
from typing import Any, NamedTuple

from markdown_it.common.utils import escapeHtml

from llava_serve.web.markdown.model_text import MARKDOWN

_ANSWERS = 500  # more than are streamed at once
_LONG = 400  # tokens of Markdown, some milliseconds of work
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
        starts = [index for index, one in enumerate(tokens) if one.level == 0 and one.nesting >= 0]
        begin = starts[-1] if starts else 0
        lines = tokens[begin].map if begin else None
        if lines is None:
            begin, lines = 0, [0, 0]
        before = MARKDOWN.renderer.render(tokens[:begin], MARKDOWN.options, env)
        last = MARKDOWN.renderer.render(tokens[begin:], MARKDOWN.options, env)
        ended = "".join(rest.splitlines(keepends=True)[: lines[0]])
        source, whole = drawn.source + ended, drawn.whole + before
        is_long = sum(1 + len(one.children or ()) for one in tokens[begin:]) > _LONG
        self._drawn = _Drawn(source, whole, *((rest[len(ended) :], last) if is_long else ()))
        return str(whole + last)


@lru_cache(maxsize=_ANSWERS)
def streamed_text(request_id: str) -> StreamedText:
    """Return what is known of the answer to a request."""
    return StreamedText()
