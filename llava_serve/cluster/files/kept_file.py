"""Kept file: what is known of an uploaded file, and how it lies in the folder of its owner.

Other controllers may write to the same folder, or remove it, at any moment.
"""

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

DATA, RECORD, PART = ".data", ".json", ".part"
_TRIES = 3  # to make a folder and write to it before another controller removes it as empty


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

    def data_in(self, folder: Path) -> Path:
        """Return where its bytes lie."""
        return folder / f"{self.sha256}{DATA}"

    def record_in(self, folder: Path) -> Path:
        """Return where it is written itself."""
        return folder / f"{self.id}{RECORD}"

    def write(self, folder: Path, data: BinaryIO) -> None:
        """Write its bytes, unless they lie there, and then its record."""
        place = self.data_in(folder)
        try:
            os.utime(
                place
            )  # as young as if written, or a sweep elsewhere may take it for left over
        except FileNotFoundError:
            _write(place, data)
        _write(self.record_in(folder), io.BytesIO(json.dumps(asdict(self)).encode()))
        if not place.exists():  # another controller deleted the last file with these bytes
            _write(place, data)


def files_in(folder: Path, suffix: str) -> list[Path]:
    """Return the files of one kind; none where the folder is gone."""
    try:
        return [path for path in folder.iterdir() if path.suffix == suffix]
    except FileNotFoundError:
        return []


def records_in(folder: Path) -> Iterator[KeptFile]:
    """Yield what can be read of the records in a folder."""
    for path in files_in(folder, RECORD):
        if (kept := read_record(path)) is not None:
            yield kept


def read_record(path: Path) -> KeptFile | None:
    """Return a record; None where there is none that can be read."""
    try:
        return KeptFile(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def bytes_in(folder: Path) -> int:
    """Return how much the bytes in a folder are together."""
    found = 0
    for path in files_in(folder, DATA):
        with suppress(FileNotFoundError):
            found += path.stat().st_size
    return found


def _write(target: Path, data: BinaryIO) -> None:
    """Write a file that has its name once it is whole, and its folder."""
    for left in reversed(range(_TRIES)):
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            _write_whole(target, data)
            return
        except (FileNotFoundError, FileExistsError):  # what `mkdir` raises of one just removed
            if not left:
                raise


def _write_whole(target: Path, data: BinaryIO) -> None:
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=PART, delete=False) as part:
        try:
            data.seek(0)
            shutil.copyfileobj(data, part)
            part.flush()
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
