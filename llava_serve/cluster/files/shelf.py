"""File shelf: uploaded pictures on disk, each owner's by themselves, until they expire.

A folder for each owner holds the bytes under their SHA-256, so that equal ones lie there once, and
a small JSON file for each id. There is nothing else to keep: several controllers may share the
shelf through a network file system.
"""

import hashlib
import json
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from llava_serve.errors import FileQuotaSpent, FileUnknown, StorageFailed
from llava_serve.media.decode import image_cost
from llava_serve.media.limits import FileLimits
from llava_serve.media.sniff import sniff

MOST_FILES = 1000  # of one owner: each upload looks at all of them
_ID = re.compile(r"(?:file|uuid)-[0-9a-f]{32}")
_DATA, _RECORD, _PART = ".data", ".json", ".part"
_PART_S = 3600.0  # after which what was not written to its end never will be


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfLimits:
    """What is kept: bytes of one owner and of all, and for how long. `file` is of each picture."""

    owner_bytes: int
    total_bytes: int
    expiry_s: float
    file: FileLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """One file; times are seconds since the epoch."""

    id: str
    sha256: str
    size_bytes: int
    filename: str
    purpose: str
    media_type: str
    created_at: int
    expires_at: int


class FileShelf:
    """Every method blocks: call it off the event loop. Each may raise StorageFailed."""

    def __init__(
        self, root: Path, limits: ShelfLimits, clock: Callable[[], float] = time.time
    ) -> None:
        self._root = root
        self.limits = limits
        self._clock = clock
        self._adding = threading.Lock()  # one picture at a time is in memory, and counted

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
        image_cost(data, self.limits.file)
        now = int(self._clock())
        kept = KeptFile(
            id=file_id or f"file-{secrets.token_hex(16)}",
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            filename="".join(c if c.isprintable() else "?" for c in filename[:255]),
            purpose=purpose,
            media_type=f"image/{sniff(data).lower()}",
            created_at=now,
            expires_at=now + int(min(expiry_s or self.limits.expiry_s, self.limits.expiry_s)),
        )
        folder = self._folder(owner)
        with self._adding, _translated():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            self._sweep_folder(folder)
            self._check_room(folder, kept)
            if not self._data(folder, kept).exists():
                _write(self._data(folder, kept), data)
            _write(folder / f"{kept.id}{_RECORD}", json.dumps(asdict(kept)).encode())
        return kept

    def find(self, owner: str, file_id: str) -> KeptFile:
        """Return a file that is kept for its owner. Raises: FileUnknown."""
        if _ID.fullmatch(file_id):
            kept = _read_record(self._folder(owner) / f"{file_id}{_RECORD}")
            if kept is not None and kept.expires_at > self._clock():
                return kept
        raise FileUnknown(file_id)

    def all_of(self, owner: str) -> list[KeptFile]:
        """Return the files of an owner, the newest first."""
        now = self._clock()
        kept = [each for each in _records(self._folder(owner)) if each.expires_at > now]
        return sorted(kept, key=lambda each: (each.created_at, each.id), reverse=True)

    def path(self, owner: str, kept: KeptFile) -> Path:
        """Return where the bytes of a file lie."""
        return self._data(self._folder(owner), kept)

    def read(self, owner: str, kept: KeptFile) -> bytes:
        """Return the bytes of a file. Raises: FileUnknown, where it was deleted meanwhile."""
        try:
            with _translated():
                return self.path(owner, kept).read_bytes()
        except FileNotFoundError as exc:
            raise FileUnknown(kept.id) from exc

    def delete(self, owner: str, file_id: str) -> None:
        """Forget a file, and its bytes with the last one that has them. Raises: FileUnknown."""
        kept, folder = self.find(owner, file_id), self._folder(owner)
        with self._adding, _translated():
            (folder / f"{kept.id}{_RECORD}").unlink(missing_ok=True)
            self._sweep_folder(folder)

    def sweep(self) -> None:
        """Remove what has expired."""
        with self._adding, _translated():
            for folder in self._folders():
                self._sweep_folder(folder)

    def _sweep_folder(self, folder: Path) -> None:
        now, used = self._clock(), set()
        for record in folder.glob(f"*{_RECORD}"):
            kept = _read_record(record)
            if kept is None or kept.expires_at <= now:
                record.unlink(missing_ok=True)
            else:
                used.add(kept.sha256)
        for file in folder.glob(f"*{_DATA}"):
            if file.stem not in used:
                file.unlink(missing_ok=True)
        for part in folder.glob(f"*{_PART}"):
            with suppress(FileNotFoundError):
                if now - part.stat().st_mtime > _PART_S:
                    part.unlink()

    def _check_room(self, folder: Path, kept: KeptFile) -> None:
        records = [each for each in _records(folder) if each.id != kept.id]
        if len(records) >= MOST_FILES:
            raise FileQuotaSpent(f"{len(records):,} files", f"{MOST_FILES:,}")
        if self._data(folder, kept).exists():
            return
        for name, used, limit in (
            ("of yours", _bytes_in([folder]), self.limits.owner_bytes),
            ("of everybody", _bytes_in(self._folders()), self.limits.total_bytes),
        ):
            if used + kept.size_bytes > limit:
                raise FileQuotaSpent(f"{used / 1e6:,.1f} MB {name}", f"{limit / 1e6:,.1f} MB")

    def _folders(self) -> list[Path]:
        return [each for each in self._root.glob("*") if each.is_dir()]

    def _folder(self, owner: str) -> Path:
        return self._root / hashlib.sha256(owner.encode()).hexdigest()[:32]

    @staticmethod
    def _data(folder: Path, kept: KeptFile) -> Path:
        return folder / f"{kept.sha256}{_DATA}"


def id_of_uuid(uuid: str) -> str:
    """Return the id of a picture that a client has named itself."""
    return "uuid-" + hashlib.sha256(uuid.encode()).hexdigest()[:32]


def _bytes_in(folders: Iterable[Path]) -> int:
    found = 0
    for folder in folders:
        for file in folder.glob(f"*{_DATA}"):
            with suppress(FileNotFoundError):
                found += file.stat().st_size
    return found


def _records(folder: Path) -> Iterator[KeptFile]:
    for path in folder.glob(f"*{_RECORD}"):
        if (kept := _read_record(path)) is not None:
            yield kept


def _read_record(path: Path) -> KeptFile | None:
    """Return a record; None where there is none that can be read."""
    try:
        return KeptFile(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write(target: Path, data: bytes) -> None:
    """Write a file that has its name once it is whole."""
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=_PART, delete=False) as part:
        try:
            part.write(data)
            part.flush()
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise StorageFailed(f"uploaded files cannot be kept: {exc.strerror or exc}") from exc
