"""History of the vitals that workers tell with their heartbeats, for the curves of operators."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from llava_serve.cluster.registry.registry import Registry
from llava_serve.protocol.vitals import Vitals

SAMPLES = 40  # ten minutes, at a heartbeat every 15 s
_SPARE = 64  # entries of workers that have left, until they are looked for


@dataclass(frozen=True, slots=True)
class Sample:
    """One heartbeat; None where it cannot be known."""

    tokens_per_s: float | None  # since the heartbeat before, of the same process
    kv_fraction: float | None  # of the KV cache's room that running requests hold


@dataclass(slots=True)
class WorkerHistory:
    """The newest vitals of a worker, when they came, and its last samples."""

    vitals: Vitals
    at: float  # seconds on the controller's monotonic clock
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES))


class VitalsHistory:
    """Kept by address; a worker that has left the registry is forgotten some time later."""

    def __init__(self, workers: Registry) -> None:
        self._workers = workers
        self._histories: dict[str, WorkerHistory] = {}

    def add(self, address: str, vitals: Vitals | None, now: float) -> None:
        """Take up what a worker has told; LLaVA's own tell nothing."""
        if vitals is None:
            self._histories.pop(address, None)
            return
        before = self._histories.get(address)
        if before is None or not _goes_on(before.vitals, vitals):
            before = self._histories[address] = WorkerHistory(vitals, now)
            before.samples.append(Sample(None, _kv_fraction(vitals)))
        elif now > before.at:
            generated = vitals.generated_tokens - before.vitals.generated_tokens
            sample = Sample(generated / (now - before.at), _kv_fraction(vitals))
            before.samples.append(sample)
            before.vitals, before.at = vitals, now
        if len(self._histories) > len(self._workers.known()) + _SPARE:
            self._forget_strangers()

    def of(self, address: str) -> WorkerHistory | None:
        """Return what the worker at an address has told; None of one that told nothing here."""
        return self._histories.get(address)

    def rates(self, addresses: Sequence[str]) -> float:
        """Return the tokens per second of several workers together, as far as they are known."""
        found = (self._histories.get(address) for address in addresses)
        newest = (one.samples[-1].tokens_per_s for one in found if one is not None)
        return sum(rate for rate in newest if rate is not None)

    def _forget_strangers(self) -> None:
        known = {worker.address for worker in self._workers.known()}
        self._histories = {a: one for a, one in self._histories.items() if a in known}


def _goes_on(before: Vitals, after: Vitals) -> bool:
    """Tell whether both are of one process: neither its age nor its sums go back."""
    is_older = after.uptime_s >= before.uptime_s
    return is_older and after.generated_tokens >= before.generated_tokens


def _kv_fraction(vitals: Vitals) -> float | None:
    if vitals.engine is None or not vitals.engine.kv_tokens_total:
        return None
    return vitals.engine.kv_tokens_held / vitals.engine.kv_tokens_total
