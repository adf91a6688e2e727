"""Local path that a user typed: `~` is expanded, and any text gives a path or an OSError."""

import errno
import os
from pathlib import Path


def local_path(typed: str) -> Path:
    """Return the path; `~name` of an unknown user stays as it is, as in a shell.

    Raises:
        OSError: no file can be called that.
    """
    if "\0" in typed:  # which the system would take for its end
        raise OSError(errno.EINVAL, "a file's name holds no zero byte", typed)
    named = _file_name(typed)
    return Path(os.path.expanduser(named))  # noqa: PTH111 - Path's own raises for an unknown user


def _file_name(typed: str) -> str:
    """Return the file's name in Python; where names are ASCII to it, other bytes are kept."""
    try:
        os.fsencode(typed)
    except UnicodeEncodeError:
        try:
            return os.fsdecode(typed.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError as exc:
            raise OSError(errno.EILSEQ, "a file's name holds no half character", typed) from exc
    return typed
