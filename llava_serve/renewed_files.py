"""Files that are read again when they change, while a process runs."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from llava_serve.errors import CommandError

logger = logging.getLogger(__name__)

Content = TypeVar("Content")


class RenewedFiles(Generic[Content]):
    """What `read` makes of some files; where a change cannot be used, the earlier content stays.

    Raises:
        CommandError: the files cannot be used at the start.
    """

    def __init__(self, read: Callable[[], Content], *files: Path) -> None:
        self._read = read
        self._files = files
        self._seen = self._stamps()
        self._content = read()

    def content(self) -> Content:
        """Return the content of the files as they are on disk."""
        if (stamps := self._stamps()) != self._seen:
            self._seen = stamps
            try:
                self._content = self._read()
                logger.info("%s was read again", self._files[0])
            except CommandError as exc:  # as between the changes of two files
                logger.warning(
                    "%s changed and is not used yet: %s", self._files[0], exc.with_remedy
                )
        return self._content

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
