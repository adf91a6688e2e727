"""Text of a terminal: what is typed or pasted is decoded, control characters are made visible.

Bytes that are no text are kept as Python keeps those of file names (PEP 383), because they may be
one; what is sent to a model has none of them.
"""

import os
import re

_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # of a character, and no kept byte


def decode_line(raw: bytes, encoding: str) -> str:
    """Return a line as UTF-8, else as the terminal's `encoding`, else with its bytes kept."""
    for name in ("utf-8-sig", encoding):  # an editor may have put a byte-order mark before it
        try:
            return raw.decode(name)
        except UnicodeDecodeError:
            continue
    return os.fsdecode(raw)


def valid_text(typed: str) -> str:
    """Return `typed` as valid Unicode: kept bytes are read as UTF-8, the rest becomes U+FFFD."""
    whole = _HALF.sub("\ufffd", typed)
    return whole.encode("utf-8", "surrogateescape").decode(errors="replace")


# Unicode's own pictures of the control characters: an escape sequence becomes readable text.
_SYMBOLS = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_C1 = dict.fromkeys(range(0x80, 0xA0), 0xFFFD)  # some terminals read these as escape sequences
_VISIBLE = {**_SYMBOLS, 0x7F: 0x2421, **_C1}


def visible(text: str) -> str:
    """Return `text` with each control character, except line feed and tab, as a picture of it.

    Bytes that are no text, as in names of files, show as U+FFFD.
    """
    return valid_text(text).translate(_VISIBLE)
