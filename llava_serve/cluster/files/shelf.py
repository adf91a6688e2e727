"""File shelf: uploaded pictures on disk, each owner's by themselves, until they expire.

A folder for each owner holds the bytes under their SHA-256, so that equal ones lie there once, and
a small JSON file for each id. There is nothing else to keep: several controllers may share the
shelf through a network file system.
"""

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from llava_serve.cluster.files.kept_file import (
    DATA,
    PART,
    RECORD,
    KeptFile,
    bytes_in,
    files_in,
    read_record,
    records_in,
)
from llava_serve.errors import FileQuotaSpent, FileUnknown, StorageFailed
from llava_serve.media.decode import image_cost
from llava_serve.media.limits import FileLimits
from llava_serve.media.sniff import sniff

_ID = re.compile(r"(?:file|uuid)-[0-9a-f]{32}")
_REMEDY = "Check --files-dir or --state-dir: the place must exist, be writable and not be full."
_PART_S = 3600.0  # after which what was not written to its end never will be, nor its record


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfLimits:
    """What is kept: of one owner and of all, and for how long. `file` is of each picture."""

    owner_bytes: int
    total_bytes: int
    expiry_s: float
    file: FileLimits
    owner_files: int = 1000  # each upload looks at all of them
    total_files: int = 10_000


class FileShelf:
    """Every method blocks: call it off the event loop. Each may raise StorageFailed."""

    def __init__(
        self, root: Path, limits: ShelfLimits, clock: Callable[[], float] = time.time
    ) -> None:
        self._root = root
        self.limits = limits
        self._clock = clock
        self._writing = threading.Lock()  # or two of this process could take the last of the room

    def add(  # noqa: PLR0913 - what a file is
        self,
        owner: str,
        data: bytes,
        *,
        filename: str,
        purpose: str,
        file_id: str | None = None,
        expiry_s: float | None = None,
    ) -> KeptFile:
        """Keep a picture, in place of what has its id.

        Raises:
            MediaUnreadable, MediaTooLarge: it is none, or one that no worker would take.
            FileQuotaSpent: there is no room.
        """
        kept = self.described(data, filename, purpose, file_id, expiry_s)
        self.add_all(owner, [(kept, data)])
        return kept

    def described(
        self,
        data: bytes,
        filename: str,
        purpose: str,
        file_id: str | None = None,
        expiry_s: float | None = None,
    ) -> KeptFile:
        """Return what a picture becomes when it is added. Raises as `add`, but for the room."""
        image_cost(data, self.limits.file)
        now = int(self._clock())
        return KeptFile(
            id=file_id or f"file-{secrets.token_hex(16)}",
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            filename="".join(c if c.isprintable() else "?" for c in filename[:255]),
            purpose=purpose,
            media_type=f"image/{sniff(data).lower()}",
            created_at=now,
            expires_at=now + int(min(expiry_s or self.limits.expiry_s, self.limits.expiry_s)),
        )

    def add_all(self, owner: str, described: Iterable[tuple[KeptFile, bytes]]) -> None:
        """Keep pictures, each in place of what has its id, as long as there is room.

        Raises:
            FileQuotaSpent: there is none for the next of them.
        """
        folder = self._folder(owner)
        with self._writing, _translated():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep_folder(folder)
            room = _Room(self.limits, folder, self._folders())
            replaced: set[str] = set()
            try:
                for kept, data in described:
                    replaced |= room.take(kept)
                    kept.write(folder, data)
            finally:
                _drop_unused(folder, replaced)

    def find(self, owner: str, file_id: str) -> KeptFile:
        """Return a file that is kept for its owner. Raises: FileUnknown."""
        if _ID.fullmatch(file_id):
            with _translated():
                kept = read_record(self._folder(owner) / f"{file_id}{RECORD}")
            if kept is not None and kept.expires_at > self._clock():
                return kept
        raise FileUnknown(file_id)

    def all_of(self, owner: str) -> list[KeptFile]:
        """Return the files of an owner, the newest first."""
        now = self._clock()
        with _translated():
            kept = [each for each in records_in(self._folder(owner)) if each.expires_at > now]
        return sorted(kept, key=lambda each: (each.created_at, each.id), reverse=True)

    def path(self, owner: str, kept: KeptFile) -> Path:
        """Return where the bytes of a file lie."""
        return kept.data_in(self._folder(owner))

    def read(self, owner: str, kept: KeptFile) -> bytes:
        """Return the bytes of a file. Raises: FileUnknown, where it was deleted meanwhile."""
        with _translated():
            try:
                return self.path(owner, kept).read_bytes()
            except FileNotFoundError as exc:
                raise FileUnknown(kept.id) from exc

    def delete(self, owner: str, file_id: str) -> None:
        """Forget a file, and its bytes with the last one that has them. Raises: FileUnknown."""
        kept, folder = self.find(owner, file_id), self._folder(owner)
        with self._writing, _translated():
            kept.record_in(folder).unlink(missing_ok=True)
            _drop_unused(folder, {kept.sha256})

    def sweep(self) -> None:
        """Remove what has expired, and the folders of owners who have nothing left."""
        with self._writing, _translated():
            for folder in self._folders():
                self._sweep_folder(folder)
                with suppress(OSError):  # it is not empty
                    folder.rmdir()

    def _sweep_folder(self, folder: Path) -> None:
        """Remove what has expired, and what another controller began and did not end."""
        now, unused = self._clock(), set()
        for record in files_in(folder, RECORD):
            kept = read_record(record)
            if kept is None or kept.expires_at <= now:
                record.unlink(missing_ok=True)
                unused |= {kept.sha256} if kept else set()
        for suffix in (DATA, PART):
            for path in files_in(folder, suffix):
                with suppress(FileNotFoundError):
                    if now - path.stat().st_mtime <= _PART_S:
                        continue  # its record is perhaps about to be written
                    if suffix == DATA:
                        unused.add(path.stem)
                    else:
                        path.unlink()
        _drop_unused(folder, unused)

    def _folders(self) -> list[Path]:
        return [each for each in files_in(self._root, "") if each.is_dir()]

    def _folder(self, owner: str) -> Path:
        return self._root / hashlib.sha256(owner.encode()).hexdigest()[:32]


class _Room:
    """What one owner may still bring."""

    def __init__(self, limits: ShelfLimits, folder: Path, folders: list[Path]) -> None:
        self._limits = limits
        self._sums = {each.id: each.sha256 for each in records_in(folder)}
        self._data = {path.stem for path in files_in(folder, DATA)}
        self._own_bytes = bytes_in(folder)
        self._all_bytes = sum(bytes_in(each) for each in folders)
        self._all_files = sum(len(files_in(each, RECORD)) for each in folders)

    def take(self, kept: KeptFile) -> set[str]:
        """Count a file in, and return the SHA-256 of what had its id, if anything.

        Raises:
            FileQuotaSpent: there is no room for it.
        """
        limits, replaced = self._limits, set()
        if kept.id in self._sums:
            replaced.add(self._sums[kept.id])
        else:
            self._check_files("of yours", len(self._sums), limits.owner_files)
            self._check_files("of everybody", self._all_files, limits.total_files)
            self._all_files += 1
        if kept.sha256 not in self._data:
            self._check_bytes("of yours", self._own_bytes, kept, limits.owner_bytes)
            self._check_bytes("of everybody", self._all_bytes, kept, limits.total_bytes)
            self._data.add(kept.sha256)
            self._own_bytes += kept.size_bytes
            self._all_bytes += kept.size_bytes
        self._sums[kept.id] = kept.sha256
        return replaced

    @staticmethod
    def _check_files(whose: str, count: int, limit: int) -> None:
        if count >= limit:
            raise FileQuotaSpent(f"{count:,} files {whose}", f"{limit:,}")

    @staticmethod
    def _check_bytes(whose: str, used: int, kept: KeptFile, limit: int) -> None:
        if used + kept.size_bytes > limit:
            raise FileQuotaSpent(f"{used / 1e6:,.1f} MB {whose}", f"{limit / 1e6:,.1f} MB")


def id_of_uuid(uuid: str) -> str:
    """Return the id of a picture that a client has named itself."""
    return "uuid-" + hashlib.sha256(uuid.encode()).hexdigest()[:32]


def _drop_unused(folder: Path, sums: set[str]) -> None:
    """Remove the bytes of these SHA-256 that no file has."""
    if sums:
        for unused in sums - {each.sha256 for each in records_in(folder)}:
            (folder / f"{unused}{DATA}").unlink(missing_ok=True)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        message = f"uploaded files cannot be kept or read: {exc.strerror or exc}"
        raise StorageFailed(message, _REMEDY) from exc
