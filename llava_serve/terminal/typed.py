"""What people type, pipe or paste, whatever its encoding: words of a question, or a file's name.

Bytes that are no text are kept as Python keeps those of file names (PEP 383), because they may be
one; what is said to a model has none of them.
"""

import os
import re

_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # of a character, and no kept byte


def line_of(raw: bytes, encoding: str) -> str:
    """Return a line as UTF-8, else as the terminal's `encoding`, else with its bytes kept."""
    for name in ("utf-8-sig", encoding):  # an editor may have put a byte-order mark before it
        try:
            return raw.decode(name)
        except UnicodeDecodeError:
            continue
    return os.fsdecode(raw)


def words_of(typed: str) -> str:
    """Return the words in `typed`: kept bytes are read as UTF-8, and U+FFFD stands for the rest."""
    whole = _HALF.sub("\ufffd", typed)
    return whole.encode("utf-8", "surrogateescape").decode(errors="replace")
