"""A request's share of the pixels that a process may hold decoded at once."""

from dataclasses import dataclass

from llava_serve.quota import Quota

LARGE_PIXELS = 16_000_000  # more than most phones make of one photograph


@dataclass(frozen=True, slots=True)
class Cost:
    """Pixels of one picture or video: that stay, and that there are while it is decoded.

    `is_slow` says that ordinary pictures must not wait while it is decoded.
    """

    kept: int
    decoding: int
    is_slow: bool


class PixelQuota(Quota):
    """Pixels of all requests together; those that take many or are slow leave a quarter."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.large = Quota(total * 3 // 4)


class PixelShare:
    """Made by `MediaReader.share`; holds nothing before `take`."""

    def __init__(self, quota: PixelQuota) -> None:
        self._quota = quota
        self._held: dict[Quota, int] = {}

    async def take(self, costs: list[Cost]) -> None:
        """Wait for room for media that are decoded one after the other.

        All of a request's media are taken together and once: requests that held some pixels and
        waited for more would wait for each other.
        """
        kept = sum(cost.kept for cost in costs)
        most = kept + max((cost.decoding - cost.kept for cost in costs), default=0)
        if not most:
            return
        is_large = most > LARGE_PIXELS or any(cost.is_slow for cost in costs)
        for quota in (self._quota.large, self._quota) if is_large else (self._quota,):
            await quota.acquire(most)
            self._held[quota] = most

    def keep(self, pixels: int) -> None:
        """Give back what is held beyond `pixels`."""
        for quota, held in self._held.items():
            if pixels < held:
                quota.release(held - pixels)
                self._held[quota] = pixels
