"""File name: the last part of what a user calls a file, fit to be a name in a folder."""

import unicodedata
from pathlib import PurePosixPath

_MOST_BYTES = 255  # of a name, in the file systems that are in use
_MOST_SUFFIX_BYTES = 20
_IN_NO_NAME = ("Cc", "Cs")  # control characters, and halves of a character that cannot be encoded


def last_part(name: str, otherwise: str) -> str:
    """Return the name of a file without its folders; `otherwise` where that is none.

    A name that is too long loses the end of its stem.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    last = "".join(one for one in last if unicodedata.category(one) not in _IN_NO_NAME)
    if last.strip() in ("", ".", ".."):
        return otherwise
    if len(last.encode()) <= _MOST_BYTES:
        return last
    suffix = PurePosixPath(last).suffix
    if len(suffix.encode()) > _MOST_SUFFIX_BYTES:
        suffix = ""
    stem = last.removesuffix(suffix).encode()[: _MOST_BYTES - len(suffix.encode())]
    return stem.decode(errors="ignore") + suffix
