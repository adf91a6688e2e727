"""Media file that a data set names: read only where it is an image or a video, and bounded.

Data sets come from others, and may name any path; what is read goes to the server that is asked.
"""

import os
import stat
from pathlib import Path

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.sniff import HEAD_BYTES, IMAGES, VIDEOS, sniff

MOST_BYTES = 256 << 20  # several are in memory at once, and the server's own limit is lower


def is_there(path: Path) -> bool:
    """Tell whether a path names a regular file; one that no file can have names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def read_media(path: Path) -> bytes:
    """Return the bytes of an image or a video.

    Raises:
        MediaUnreadable: it is not there, or is something else: nothing of it is returned.
        MediaTooLarge: it has more than `MOST_BYTES`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # waits for no pipe
        with open(descriptor, "rb") as file:  # noqa: PTH123 - of no path any more
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise MediaUnreadable(f"{path} is a folder, a pipe or a device")
            head = file.read(HEAD_BYTES)
            if (kind := sniff(head)) not in (*IMAGES, *VIDEOS):
                raise MediaUnreadable(f"{path} is {kind}, and no image or video")
            if about.st_size > MOST_BYTES:
                size = f"{about.st_size >> 20:,} MiB"
                raise MediaTooLarge(f"{path} has {size}; {MOST_BYTES >> 20} are the most")
            return head + file.read(MOST_BYTES)
    except OSError as exc:
        raise MediaUnreadable(f"cannot read {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise MediaUnreadable(f"cannot read {str(path)!r}: {exc}") from exc
