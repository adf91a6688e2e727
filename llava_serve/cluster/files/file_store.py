"""File store: uploaded files on disk, each owner's by themselves, until they expire.

A folder for each owner holds the bytes under their SHA-256, so that equal ones lie there once, and
a small JSON file for each id. There is nothing else to keep: several controllers may share the
store through a network file system.
"""

import hashlib
import io
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from llava_serve.cluster.files.kept_file import (
    DATA,
    PART,
    RECORD,
    KeptFile,
    files_in,
    read_record,
    records_in,
)
from llava_serve.cluster.files.room import FileStoreLimits as FileStoreLimits, Room
from llava_serve.errors import FileUnknown, StorageFailed
from llava_serve.media.decode import image_cost
from llava_serve.media.sniff import sniff

_ID = re.compile(r"(?:file|uuid)-[0-9a-f]{32}")
_OWNER = re.compile(r"[0-9a-f]{32}")
_LINES = "application/jsonl"
_CHUNK_BYTES = 1_000_000
_REMEDY = "Check --files-dir or --state-dir: the place must exist, be writable and not be full."
_PART_S = 3600.0  # after which what was not written to its end never will be, nor its record


class FileStore:
    """Every method blocks: call it off the event loop. Each may raise StorageFailed."""

    def __init__(
        self, root: Path, limits: FileStoreLimits, clock: Callable[[], float] = time.time
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
        sha256, media_type = hashlib.sha256(data).hexdigest(), f"image/{sniff(data).lower()}"
        return self._kept(sha256, len(data), filename, purpose, media_type, file_id, expiry_s)

    def _kept(  # noqa: PLR0913 - what a file is
        self,
        sha256: str,
        size_bytes: int,
        filename: str,
        purpose: str,
        media_type: str,
        file_id: str | None,
        expiry_s: float | None,
    ) -> KeptFile:
        now = int(self._clock())
        return KeptFile(
            id=file_id or f"file-{secrets.token_hex(16)}",
            sha256=sha256,
            size_bytes=size_bytes,
            filename="".join(c if c.isprintable() else "?" for c in filename[:255]),
            purpose=purpose,
            media_type=media_type,
            created_at=now,
            expires_at=now + int(min(expiry_s or self.limits.expiry_s, self.limits.expiry_s)),
        )

    def add_all(self, owner: str, described: Iterable[tuple[KeptFile, bytes]]) -> None:
        """Keep pictures, each in place of what has its id, as long as there is room.

        Raises:
            FileQuotaSpent: there is none for the next of them.
        """
        folder = self.folder(owner)
        with self._writing, _translated():
            self._begin(folder)
            room = Room(self.limits, folder, self._folders())
            replaced: set[str] = set()
            try:
                for kept, data in described:
                    replaced |= room.take(kept)
                    kept.write(folder, io.BytesIO(data))
            finally:
                _drop_unused(folder, replaced)

    def add_lines(
        self, owner: str, lines: BinaryIO, filename: str, expiry_s: float | None = None
    ) -> KeptFile:
        """Keep the input of a batch, which nobody looks into yet. Raises: FileQuotaSpent."""
        kept = self._described_lines(lines, filename, "batch", expiry_s=expiry_s)
        folder = self.folder(owner)
        with self._writing, _translated():
            self._begin(folder)
            Room(self.limits, folder, self._folders()).take(kept)
            kept.write(folder, lines)
        return kept

    def keep_results(
        self, owner: str, lines: BinaryIO, filename: str, file_id: str, expiry_s: float | None
    ) -> None:
        """Keep what a batch has answered, whatever room there is: it was worked for."""
        kept = self._described_lines(lines, filename, "batch_output", file_id, expiry_s)
        folder = self.folder(owner)
        with self._writing, _translated():
            self._begin(folder)
            kept.write(folder, lines)

    def check_room(self, owner: str) -> None:
        """Raises: FileQuotaSpent, where there is no room for the smallest file."""
        nothing = self._described_lines(io.BytesIO(b"\n"), "", "batch")
        with _translated():
            Room(self.limits, self.folder(owner), self._folders()).take(nothing)

    def _described_lines(
        self,
        lines: BinaryIO,
        filename: str,
        purpose: str,
        file_id: str | None = None,
        expiry_s: float | None = None,
    ) -> KeptFile:
        lines.seek(0)
        sha256 = hashlib.sha256()
        while some := lines.read(_CHUNK_BYTES):
            sha256.update(some)
        size_bytes = lines.tell()
        return self._kept(
            sha256.hexdigest(), size_bytes, filename, purpose, _LINES, file_id, expiry_s
        )

    def find(self, owner: str, file_id: str) -> KeptFile:
        """Return a file that is kept for its owner. Raises: FileUnknown."""
        if _ID.fullmatch(file_id):
            with _translated():
                kept = read_record(self.folder(owner) / f"{file_id}{RECORD}")
            if kept is not None and kept.expires_at > self._clock():
                return kept
        raise FileUnknown(file_id)

    def all_of(self, owner: str) -> list[KeptFile]:
        """Return the files of an owner, the newest first."""
        now = self._clock()
        with _translated():
            kept = [each for each in records_in(self.folder(owner)) if each.expires_at > now]
        return sorted(kept, key=lambda each: (each.created_at, each.id), reverse=True)

    def path(self, owner: str, kept: KeptFile) -> Path:
        """Return where the bytes of a file lie."""
        return kept.data_in(self.folder(owner))

    def read(self, owner: str, kept: KeptFile) -> bytes:
        """Return the bytes of a file. Raises: FileUnknown, where it was deleted meanwhile."""
        with _translated():
            try:
                return self.path(owner, kept).read_bytes()
            except FileNotFoundError as exc:
                raise FileUnknown(kept.id) from exc

    def delete(self, owner: str, file_id: str) -> None:
        """Forget a file, and its bytes with the last one that has them. Raises: FileUnknown."""
        kept, folder = self.find(owner, file_id), self.folder(owner)
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
        return [each for each in files_in(self._root, "") if _OWNER.fullmatch(each.name)]

    def _begin(self, folder: Path) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep_folder(folder)

    def folder(self, owner: str) -> Path:
        """Return where the files of an owner lie."""
        return self._root / hashlib.sha256(owner.encode()).hexdigest()[:32]


def id_of_uuid(uuid: str) -> str:
    """Return the id of a picture that a client has named itself."""
    return "uuid-" + hashlib.sha256(uuid.encode()).hexdigest()[:32]


def _drop_unused(folder: Path, sums: set[str]) -> None:
    """Remove the bytes of these SHA-256 that no file has.

    They are put aside first, and back where another controller wrote a record of theirs meanwhile.
    """
    aside = {}
    for unused in sums and sums - {each.sha256 for each in records_in(folder)}:
        place = folder / f"{unused}{DATA}"
        with suppress(FileNotFoundError):
            aside[place] = place.rename(folder / f"{unused}.{secrets.token_hex(8)}{PART}")
    used = {each.data_in(folder) for each in records_in(folder)} if aside else set()
    for place, part in aside.items():
        with suppress(FileNotFoundError):
            if place in used:
                part.rename(place)
            else:
                part.unlink()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        message = f"uploaded files cannot be kept or read: {exc.strerror or exc}"
        raise StorageFailed(message, _REMEDY) from exc
