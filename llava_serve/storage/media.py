"""Pictures and videos on disk, each once, under the SHA-256 of its bytes."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import IO, BinaryIO

from PIL import Image

from llava_serve.errors import MediaTooLarge, MediaUnreadable, StorageFailed
from llava_serve.media.damage import DAMAGE, damaged
from llava_serve.media.sniff import HEAD_BYTES, sniff
from llava_serve.storage import filetypes
from llava_serve.storage.filetypes import FileType
from llava_serve.storage.rendition import rendition


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the store; `name` is what the user called it."""

    sha256: str
    filetype: FileType
    size_bytes: int
    name: str

    @property
    def filename(self) -> str:
        return f"{self.sha256}.{self.filetype.extension}"


class MediaStore:
    """Keeps files as `root/ab/abcd….ext`, and the rendition of one beside it.

    Every method blocks: call it off the event loop.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.root = root
        self._limit_bytes = limit_bytes

    def put(self, source: Path, name: str | None = None) -> StoredFile:
        """Copy `source` into the store, where equal bytes are one file.

        Its user's `name` for it is that of `source` unless another is given.

        Raises:
            MediaUnreadable: it is no image or video that this stack serves.
            MediaTooLarge: it is beyond the store's limit, or has too many pixels to be shown.
            StorageFailed: the disk does not take it.
        """
        with _translated(), source.open("rb") as file:
            stored = self._described(file, name or source.name)
            file.seek(0)
            with self._written(self.path(stored.filename)) as part:
                shutil.copyfileobj(file, part)
        if stored.filetype.has_rendition and not self.shown_path(stored.filename).is_file():
            self._add_rendition(stored)
        return stored

    def describe(self, source: Path) -> StoredFile:
        """Return what `put` would, and keep nothing; it raises the same."""
        with _translated(), source.open("rb") as file:
            return self._described(file, source.name)

    def _described(self, file: BufferedReader, name: str) -> StoredFile:
        size_bytes = os.fstat(file.fileno()).st_size
        self.check(file.read(HEAD_BYTES), name, size_bytes)
        filetype = _type_of(file, name)
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return StoredFile(sha256, filetype, size_bytes, name)

    def check(self, head: bytes, name: str, size_bytes: int) -> None:
        """Judge a file by its first `HEAD_BYTES` and its size.

        Raises:
            MediaUnreadable: it is no image or video that this stack serves.
            MediaTooLarge: it is beyond the store's limit.
        """
        _format_of(head, name)
        if size_bytes > self._limit_bytes:
            raise MediaTooLarge(
                f"{name!r} has {size_bytes / 1e6:.1f} MB; the limit is "
                f"{self._limit_bytes / 1e6:.1f} MB"
            )

    def find(self, filename: str, name: str) -> StoredFile:
        """Return what `put` returned of a file, by how it is named here and by its user.

        Raises:
            MediaUnreadable: it is no image or video.
            StorageFailed: it is not here.
        """
        with _translated(), self.path(filename).open("rb") as file:
            filetype = _type_of(file, name)
            size_bytes = os.fstat(file.fileno()).st_size
        return StoredFile(filename.partition(".")[0], filetype, size_bytes, name)

    def read(self, file: StoredFile) -> bytes:
        with _translated():
            return self.path(file.filename).read_bytes()

    def read_shown(self, file: StoredFile) -> bytes:
        """Read what a browser shows of a file: itself, or its rendition."""
        with _translated():
            return self.shown_path(file.filename).read_bytes()

    def delete(self, filename: str) -> None:
        """Remove a file, unless it is gone already. Raises: StorageFailed."""
        with _translated():
            for path in {self.path(filename), self.shown_path(filename)}:
                path.unlink(missing_ok=True)

    def path(self, filename: str) -> Path:
        """Return where a stored file of this name lies, or would lie."""
        return self.root / filename[:2] / filename

    def shown_path(self, filename: str) -> Path:
        """Return where that lies which a browser shows of a stored file: itself, or its rendition.

        Raises:
            KeyError: no file of this store has such an extension.
        """
        path = self.path(filename)
        if filetypes.BY_EXTENSION[filename.partition(".")[2]].has_rendition:
            return path.with_name(path.name + ".webp")
        return path

    def _add_rendition(self, stored: StoredFile) -> None:
        try:
            drawn = rendition(self.read(stored), stored.filetype)
        except (MediaUnreadable, MediaTooLarge) as exc:
            self.delete(stored.filename)
            raise type(exc)(f"{stored.name!r}: {exc.message}") from exc
        with _translated(), self._written(self.shown_path(stored.filename)) as part:
            part.write(drawn)

    @contextmanager
    def _written(self, target: Path) -> Iterator[IO[bytes]]:
        """Open a file that gets its name once it is whole; it is gone if the body fails."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.root, prefix=".part-", delete=False) as part:
            try:
                yield part
                part.flush()
                target.parent.mkdir(mode=0o700, exist_ok=True)
                # A rename is atomic, and two writers of one name carry the same bytes.
                Path(part.name).replace(target)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise


def _format_of(head: bytes, name: str) -> FileType:
    found = sniff(head)
    if (filetype := filetypes.BY_FORMAT.get(found)) is None:
        raise MediaUnreadable(f"{name!r} is no picture or video that can be shown; it is {found}")
    return filetype


def _type_of(file: BinaryIO, name: str) -> FileType:
    file.seek(0)
    filetype = _format_of(file.read(HEAD_BYTES), name)
    if filetype in filetypes.MAY_MOVE and _moves(file, name):
        return replace(filetype, kind="video")
    return filetype


def _moves(file: BinaryIO, name: str) -> bool:
    try:
        with Image.open(file) as image:
            return bool(getattr(image, "is_animated", False))
    except DAMAGE as exc:
        raise damaged(repr(name), exc) from exc


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StorageFailed(f"the file store failed: {exc.strerror or exc}") from exc
