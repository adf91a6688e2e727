"""What a path means that somebody typed: `~` is a home, and no text of any kind is a crash."""

import errno
import os
from pathlib import Path


def local_path(typed: str) -> Path:
    """Return the path; `~name` of an unknown user stays as it is, as in a shell.

    Raises:
        OSError: it holds a zero byte, which the system would take for its end.
    """
    if "\0" in typed:
        raise OSError(errno.EINVAL, "a file's name holds no zero byte", typed)
    return Path(os.path.expanduser(typed))  # noqa: PTH111 - Path's own raises for an unknown user
