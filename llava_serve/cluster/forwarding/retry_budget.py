"""Retry budget: how many requests may be asked again, for all requests of a controller together."""

_FRACTION = 0.2  # of the requests
_LEAST_PER_S = 10.0  # where there are few requests
_WINDOW_S = 10.0


class RetryBudget:
    """A bucket that each request and each second fill, and each retry takes from.

    So workers that fail under their load do not get all of it once more. It holds no more than the
    seconds of one window bring, and is full at first.

    Source: twitter/finagle@0e26b57, finagle-core/.../service/RetryBudget.scala: a fifth of the
    requests, and ten retries a second, over ten seconds.
    """

    def __init__(self, now: float) -> None:
        self._most = _LEAST_PER_S * _WINDOW_S
        self._balance = self._most
        self._filled_at = now

    def count_request(self) -> None:
        """Fill it for one request."""
        self._balance = min(self._balance + _FRACTION, self._most)

    def take(self, now: float) -> float:
        """Take one retry and return 0, or return the seconds after which to ask again."""
        filled = (now - self._filled_at) * _LEAST_PER_S
        self._balance = min(self._balance + filled, self._most)
        self._filled_at = now
        if self._balance < 1:
            return (1 - self._balance) / _LEAST_PER_S
        self._balance -= 1
        return 0.0
