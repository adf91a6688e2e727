"""Image pool: a bounded sample of a task's images and videos, the same at each run."""

import hashlib
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal

from llava_serve.errors import CommandError, MediaTooLarge, MediaUnreadable
from llava_serve.evaluation.question import Medium

MOST = 256  # media of a kind that are kept
_MOST_BYTES = 32 << 20  # of those that stand in question files, and are kept in memory
_SEED = b"llava_serve.evaluate swapped"


class ImagePool:
    """Keeps those media of each kind whose names hash to the least numbers: a fair sample of all.

    Source: Broder 1997, "On the resemblance and containment of documents" (min-wise sketches).
    """

    def __init__(self) -> None:
        self._kept: dict[str, dict[bytes, Medium]] = {"image": {}, "video": {}}
        self._bytes = 0
        self._by_content: dict[str, dict[bytes, Medium]] = {}

    def offer(self, medium: Medium) -> None:
        """Look at one more medium of the task."""
        kept = self._kept[medium.kind]
        key = hashlib.sha256(_SEED + _name(medium)).digest()
        if key in kept or (len(kept) == MOST and key > max(kept)):
            return
        kept[key] = medium
        self._bytes += _in_memory(medium)
        while len(kept) > MOST or (self._bytes > _MOST_BYTES and len(kept) > 2):
            self._bytes -= _in_memory(kept.pop(max(kept)))

    def seal(self) -> None:
        """Tell apart what was kept by its content, once all was offered.

        Raises:
            CommandError: there are no two different ones of a kind, or none at all.
        """
        for kind, kept in self._kept.items():
            found: dict[bytes, Medium] = {}
            for key in sorted(kept):
                try:
                    found.setdefault(digest_of(kept[key].read()), kept[key])
                except (MediaTooLarge, MediaUnreadable):  # it cannot be shown in place of another
                    continue
            if len(found) == 1:
                what = f"the task has only one {kind}, which no other can take the place of"
                raise CommandError(what, "Leave swapped out of --images.")
            self._by_content[kind] = found
        if not any(self._by_content.values()):
            what = "the task has no pictures that could be swapped"
            raise CommandError(what, "Leave swapped out of --images.")

    def other(
        self, kind: Literal["image", "video"], own: bytes, avoided: AbstractSet[bytes]
    ) -> tuple[bytes, Medium]:
        """Return the digest and the medium that stands for the one of the digest `own`.

        It is none of `avoided` where there is a choice, and never `own`.
        """
        found = self._by_content[kind]
        names = list(found)
        start = int.from_bytes(hashlib.sha256(_SEED + own).digest()[:8]) % len(names)
        turned = names[start:] + names[:start]
        others = [name for name in turned if name != own]
        chosen = next((name for name in others if name not in avoided), others[0])
        return chosen, found[chosen]


def digest_of(data: bytes) -> bytes:
    """Return what tells one content from another."""
    return hashlib.sha256(data).digest()


def _name(medium: Medium) -> bytes:
    """Return what names a medium wherever the data lies."""
    if isinstance(medium.source, Path):
        return "/".join(medium.source.parts[-3:]).encode(errors="surrogateescape")
    return digest_of(medium.source)


def _in_memory(medium: Medium) -> int:
    return len(medium.source) if isinstance(medium.source, bytes) else 0
