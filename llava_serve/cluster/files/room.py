"""Room of the file store: how much one owner and all of them may keep, and what is left of it."""

from dataclasses import dataclass
from pathlib import Path

from llava_serve.cluster.files.kept_file import (
    DATA,
    RECORD,
    KeptFile,
    bytes_in,
    files_in,
    records_in,
)
from llava_serve.errors import FileQuotaSpent
from llava_serve.media.limits import FileLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStoreLimits:
    """What is kept: of one owner and of all, and for how long. `file` is of each picture."""

    owner_bytes: int
    total_bytes: int
    expiry_s: float
    file: FileLimits
    owner_files: int = 1000  # each upload looks at all of them
    total_files: int = 10_000


class Room:
    """What one owner may still bring."""

    def __init__(self, limits: FileStoreLimits, folder: Path, folders: list[Path]) -> None:
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
