"""Ready wait: how long a replica has been waited for, since its start or since it was lost."""

from dataclasses import dataclass


@dataclass(slots=True)
class ReadyWait:
    """The wait for one replica; times are seconds of any one clock."""

    began_at: float
    is_ready: bool = False

    def take(self, now: float, *, is_ready: bool) -> float | None:
        """Note how it is; returns how long the wait was, once it is over."""
        was_ready, self.is_ready = self.is_ready, is_ready
        if was_ready and not is_ready:
            self.began_at = now
        return now - self.began_at if is_ready and not was_ready else None
