"""Batch store: a folder for each batch, in which its record, its input and its results lie.

Whoever holds the lock of a folder runs the batch and writes its record; the system gives the lock
back when that process ends, however it ends. So controllers may share the store.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from llava_serve.cluster.batches.batch import Batch
from llava_serve.errors import BatchUnknown, StorageFailed, TooManyBatches

_ID = re.compile(r"batch_[0-9a-f]{32}")
_RECORD, _INPUT, _LOCK, _CANCEL = "batch.json", "input.jsonl", "lock", "cancel"
_REMEDY = "Check --files-dir or --state-dir: the place must exist, be writable and not be full."
_MOST_UNDER_WAY = 20  # of one owner
_REMEMBERED_S = 30 * 86_400  # after its end
_UNFINISHED_S = 3600  # after which a folder without a record never gets one


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """Where one batch lies. Every method may raise StorageFailed."""

    path: Path

    @property
    def input(self) -> Path:
        return self.path / _INPUT

    def results(self, name: str) -> Path:
        """Return the file of `output` or `errors` while they come."""
        return self.path / f"{name}.jsonl"

    def cancel_asked_at(self) -> float | None:
        """Return when somebody asked for its end."""
        with translated():
            try:
                return (self.path / _CANCEL).stat().st_mtime
            except FileNotFoundError:
                return None

    def cancel(self) -> None:
        """Ask whoever runs it to end it."""
        with translated():
            (self.path / _CANCEL).touch()

    def read(self) -> Batch | None:
        """Return the record; None where there is none that can be read."""
        with translated():
            try:
                return Batch.from_json(json.loads((self.path / _RECORD).read_bytes()))
            except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
                return None

    def write(self, batch: Batch) -> None:
        """Replace the record."""
        with translated():
            descriptor, name = tempfile.mkstemp(dir=self.path)
            part = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(json.dumps(batch.as_json()).encode())
                part.replace(self.path / _RECORD)
            except OSError:  # of a full disk, to which each try would add a file
                part.unlink(missing_ok=True)
                raise

    def forget_requests(self) -> None:
        """Remove all but the record."""
        with translated():
            for path in self.path.iterdir():
                if path.name not in (_RECORD, _LOCK):
                    path.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock while the body runs; yields False where another process has it."""
        with translated():
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)


class BatchStore:
    """Every method blocks: call it off the event loop. Each may raise StorageFailed."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self.clock = clock

    def create(self, batch: Batch, lines: Path) -> Batch:
        """Keep a batch of the `lines` of a file, which may go meanwhile; returns it with its id.

        Raises:
            TooManyBatches: its owner has too many.
        """
        owner = batch.caller.owner
        if sum(not each.has_ended for each in self.all_of(owner)) >= _MOST_UNDER_WAY:
            raise TooManyBatches(_MOST_UNDER_WAY)
        batch = replace(batch, id=f"batch_{secrets.token_hex(16)}")
        folder = BatchFolder(self._of(owner) / batch.id)
        with translated():
            folder.path.mkdir(mode=0o700, parents=True)
            try:
                os.link(lines, folder.input)
            except OSError:  # across file systems, or where these have no links
                shutil.copyfile(lines, folder.input)
        folder.write(batch)
        return batch

    def find(self, owner: str, batch_id: str) -> tuple[BatchFolder, Batch]:
        """Return a batch of an owner. Raises: BatchUnknown."""
        if _ID.fullmatch(batch_id):
            folder = BatchFolder(self._of(owner) / batch_id)
            if (batch := folder.read()) is not None:
                return folder, _told(folder, batch)
        raise BatchUnknown(batch_id)

    def all_of(self, owner: str) -> list[Batch]:
        """Return the batches of an owner, the newest first."""
        found = [
            _told(folder, batch)
            for folder in _folders(self._of(owner))
            if (batch := folder.read()) is not None
        ]
        return sorted(found, key=lambda each: (each.created_at, each.id), reverse=True)

    def under_way(self) -> list[BatchFolder]:
        """Return where the batches lie that have not ended."""
        return [
            folder
            for owner in _below(self._root)
            for folder in _folders(owner)
            if folder.input.exists() and (batch := folder.read()) and not batch.has_ended
        ]

    def sweep(self) -> None:
        """Remove what ended long ago, and what was begun and never written."""
        now = self.clock()
        with translated():
            for owner in _below(self._root):
                for folder in _folders(owner):
                    if self._is_old(folder, now):
                        shutil.rmtree(folder.path, ignore_errors=True)
                with suppress(OSError):  # it is not empty
                    owner.rmdir()

    @staticmethod
    def _is_old(folder: BatchFolder, now: float) -> bool:
        if (batch := folder.read()) is not None:
            return batch.has_ended and now - (batch.ended_at or now) > _REMEMBERED_S
        with suppress(FileNotFoundError):
            return now - folder.path.stat().st_mtime > _UNFINISHED_S
        return False

    def _of(self, owner: str) -> Path:
        return self._root / hashlib.sha256(owner.encode()).hexdigest()[:32]


def _told(folder: BatchFolder, batch: Batch) -> Batch:
    """Return it with the wish that it end, of which whoever runs it learns in a moment."""
    asked_at = None if batch.has_ended or batch.ending else folder.cancel_asked_at()
    return batch if asked_at is None else batch.at("cancelling", asked_at)


def _folders(owner: Path) -> list[BatchFolder]:
    return [BatchFolder(path) for path in _below(owner) if _ID.fullmatch(path.name)]


def _below(folder: Path) -> list[Path]:
    with translated():
        try:
            return list(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


@contextmanager
def translated() -> Iterator[None]:
    """Raise StorageFailed for what the file system raises."""
    try:
        yield
    except OSError as exc:
        message = f"batches cannot be kept or read: {exc.strerror or exc}"
        raise StorageFailed(message, _REMEDY) from exc
