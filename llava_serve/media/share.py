"""A request's share of the pixels that a process may hold decoded at once."""

from dataclasses import dataclass

from llava_serve.quota import Quota


@dataclass(frozen=True, slots=True)
class Cost:
    """Pixels of one picture or video: that stay, and that there are while it is decoded."""

    kept: int
    decoding: int


class PixelShare:
    """Made by `MediaReader.share`; holds nothing before `take`."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._held = 0

    async def take(self, costs: list[Cost]) -> None:
        """Wait for room for media that are decoded one after the other.

        All of a request's media are taken together and once: requests that held some pixels and
        waited for more would wait for each other.
        """
        kept = sum(cost.kept for cost in costs)
        most = kept + max((cost.decoding - cost.kept for cost in costs), default=0)
        if most:
            await self._quota.acquire(most)
            self._held = most

    def keep(self, pixels: int) -> None:
        """Give back what is held beyond `pixels`."""
        if pixels < self._held:
            self._quota.release(self._held - pixels)
            self._held = pixels
