"""The workers that one request was given to in vain, and whether a further one may have it.

Until the first token is out, a request belongs to the cluster and not to the worker. A worker is
asked once, except that a request whose worker was lost may wait for a place at busy ones. Only so
many workers are lost with one request: it may be what they die of.
"""

from collections.abc import Collection

from llava_serve.cluster.upstream import Answer
from llava_serve.errors import BUSY, LOST, NOT_ANSWERED, WorkerLost, WorkersLost, WorkerUnreachable

MOST_LOST = 3  # the first, and two that were asked again


class Refusal(Exception):
    """A worker's answer to a request of which it answered nothing.

    `content` is the answer's body, or within a stream its last record; `value` is that of the
    header `NOT_ANSWERED`.
    """

    def __init__(self, answer: Answer, content: bytes, value: str) -> None:
        super().__init__(f"it answered nothing (HTTP {answer.status}, {value})")
        self.answer = answer
        self.content = content
        self.headers = {NOT_ANSWERED: value}


Failure = WorkerUnreachable | WorkerLost | Refusal


class Attempts:
    """What came of asking, by the worker's address."""

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}
        self._lost = 0

    @property
    def tried(self) -> Collection[str]:
        return self._failures

    @property
    def last(self) -> Failure | None:
        return next(reversed(self._failures.values()), None)

    def add(self, address: str, failure: Failure) -> None:
        """Remember that the worker at `address` gave no answer.

        Raises:
            WorkersLost: it is one too many that was lost with this request.
        """
        self._failures.pop(address, None)
        self._failures[address] = failure
        if failure.headers[NOT_ANSWERED] == LOST:
            self._lost += 1
        if self._lost >= MOST_LOST:
            raise WorkersLost(self._lost)

    def forget_busy(self) -> bool:
        """Let busy workers be asked again; False where no worker was lost, or none is busy."""
        busy = [
            address
            for address, failure in self._failures.items()
            if failure.headers[NOT_ANSWERED] == BUSY
        ]
        if not self._lost:
            return False
        for address in busy:
            del self._failures[address]
        return bool(busy)
