"""Limits of a folder of images that models are asked about in one run."""

from collections.abc import Iterable
from dataclasses import dataclass

from llava_serve.errors import FolderTooLarge


@dataclass(frozen=True, slots=True)
class FolderLimits:
    """How many images a folder may have, and how many bytes they may have together."""

    images: int = 200
    size_bytes: int = 500_000_000

    def check(self, sizes_bytes: Iterable[int]) -> None:
        """Raise FolderTooLarge where images of these sizes are too many, or too large."""
        sizes = [*sizes_bytes]
        if len(sizes) > self.images or sum(sizes) > self.size_bytes:
            raise FolderTooLarge(len(sizes), sum(sizes), self.images, self.size_bytes)
