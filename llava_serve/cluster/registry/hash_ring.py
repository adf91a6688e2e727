"""Hash ring: which worker a key belongs to, so that few keys move when workers come and go.

Each worker has one point on the ring, and a key is looked up at several: the point that lies
closest behind one of them wins. That spreads keys as evenly as hundreds of points per worker would,
in a ring that stays small.

Source: Appleton and O'Reilly, "Multi-probe consistent hashing", 2015, arXiv:1505.00062.
"""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator

_PROBES = 21  # the busiest of many workers then has 1.05 times the mean; section 4 of the source
_SPACE = 1 << 64


def hash_of(data: bytes) -> int:
    """Return 64 bits, the same in every process."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


class HashRing:
    """Members by the place of their names on a ring of 2^64, where no two share one."""

    def __init__(self) -> None:
        self._points: list[int] = []
        self._names: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._points)

    def add(self, name: str) -> None:
        """Add a member that is not there."""
        point = hash_of(name.encode())
        insort(self._points, point)
        self._names[point] = name

    def remove(self, name: str) -> None:
        """Remove a member that is there."""
        point = hash_of(name.encode())
        del self._points[bisect_left(self._points, point)]
        del self._names[point]

    def walk(self, key: int) -> Iterator[str]:
        """Yield every member once, the owner of `key` first and then along the ring."""
        if not self._points:
            return
        start = self._owner(key)
        for index in range(start - len(self._points), start):
            yield self._names[self._points[index]]

    def _owner(self, key: int) -> int:
        """Return the index of the point that lies closest behind one of the key's places."""
        points, count = self._points, len(self._points)
        # Places by double hashing.
        place, stride = key % _SPACE, (key * 0x9E3779B97F4A7C15) % _SPACE | 1
        closest, owner = _SPACE, 0
        for _ in range(_PROBES):
            index = bisect_left(points, place) % count
            distance = (points[index] - place) % _SPACE
            if distance < closest:
                closest, owner = distance, index
            place = (place + stride) % _SPACE
        return owner
