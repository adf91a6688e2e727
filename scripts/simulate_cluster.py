"""Simulate a large cluster: the real registry and dispatch, workers and time made up.

Conversations about pictures come in at a fixed rate. Popular pictures come often (Zipf), and each
conversation asks several questions. A simulated worker answers so many at once as it has slots, has
to encode a picture whose features it does not hold, and has to read a conversation again that it
holds no prefix of. Workers leave without a word and others join; some are slower than they say.
Everything is drawn from one seed, so two runs are equal but for the time that dispatch takes.

    python -m scripts.simulate_cluster --workers 10000 --rate 100000 --seconds 10 --plot cluster.png
"""

import argparse
import heapq
import itertools
import json
import random
import statistics
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

from llava_serve.cluster.registry.dispatch import DISPATCH, DispatchRequest
from llava_serve.cluster.registry.hash_ring import hash_of
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.errors import NoWorker
from llava_serve.protocol.cluster import WorkerStatus

MODEL = "llava"
SLOTS = 16
HEARTBEAT_S = 15.0
# Of a 7B model on one accelerator, in round numbers; only their ratios matter here.
ENCODE_S, READ_S, REREAD_S, DECODE_S = 0.20, 0.25, 0.02, 1.0
SEEN_FEATURES, SEEN_PREFIXES = 200, 400  # what one worker's caches hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What happens in a simulation; times in seconds, rates per second."""

    workers: int = 200
    rate: float = 2_000.0  # requests
    seconds: float = 30.0
    images: int = 20_000
    turns: int = 4
    think_s: float = 4.0  # between an answer's request and the next question
    slow_share: float = 0.05  # of the workers, which need twice as long as they say
    churn_per_s: float = 0.002  # of the workers leave, and as many join
    seed: int = 1


@dataclass(slots=True)
class SimulatedWorker:
    """Slots and caches of one worker."""

    slowness: float
    free_at: list[float] = field(default_factory=lambda: [0.0] * SLOTS)
    features: "OrderedDict[int, None]" = field(default_factory=OrderedDict)
    prefixes: "OrderedDict[int, None]" = field(default_factory=OrderedDict)
    answered: int = 0

    def answer(self, image: int, conversation: int, now: float) -> tuple[float, float, bool, bool]:
        """Return when the first token comes, when the answer ends, and which caches were hit."""
        feature_hit = _touch(self.features, image, SEEN_FEATURES)
        prefix_hit = _touch(self.prefixes, conversation, SEEN_PREFIXES)
        encode_s = 0.0 if feature_hit else ENCODE_S
        read_s = REREAD_S if prefix_hit else READ_S
        begins = max(now, heapq.heappop(self.free_at))
        first_token = begins + (encode_s + read_s) * self.slowness
        ends = first_token + DECODE_S * self.slowness
        heapq.heappush(self.free_at, ends)
        self.answered += 1
        return first_token, ends, feature_hit, prefix_hit


def _touch(cache: "OrderedDict[int, None]", key: int, size: int) -> bool:
    is_hit = key in cache
    cache[key] = None
    cache.move_to_end(key)
    if len(cache) > size:
        cache.popitem(last=False)
    return is_hit


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one policy made of a load. Times are virtual, but for `dispatch_us`."""

    policy: str
    workers: int
    requests: int
    asked_again: int  # of a worker that was gone
    lost: int
    feature_hits: float
    prefix_hits: float
    first_token_p50_s: float
    first_token_p99_s: float
    busiest_to_mean: float  # answers of the busiest of the workers that stayed
    dispatch_us: float  # real time of one, median


class Simulation:
    """One policy under one load."""

    def __init__(self, policy: str, load: Load) -> None:
        self._policy = policy
        self._load = load
        self._random = random.Random(load.seed)
        random.seed(load.seed)  # of the policies
        self._registry = Registry(DISPATCH[policy])
        self._numbers = itertools.count()
        self._workers: dict[str, SimulatedWorker] = {}
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._running: set[AbstractContextManager[RegisteredWorker]] = set()
        self._waits: list[float] = []
        self._hits = [0, 0]
        self._dispatch_s: list[float] = []
        self._again = self._lost = 0
        weights = itertools.accumulate(1 / rank for rank in range(1, load.images + 1))
        self._popularity = list(weights)

    def run(self) -> Outcome:
        load = self._load
        for _ in range(load.workers):
            self._join(0.0)
        stayed = set(self._workers)
        self._later(0.0, self._arrive)
        self._later(0.0, self._churn)
        while self._events and self._events[0][0] < load.seconds:
            now, _, event = heapq.heappop(self._events)
            event(now)
        for dispatched in self._running:  # else they end, and draw, while another simulation runs
            dispatched.__exit__(None, None, None)
        counts = [w.answered for address, w in self._workers.items() if address in stayed]
        cuts = statistics.quantiles(self._waits, n=100)
        return Outcome(
            policy=self._policy,
            workers=load.workers,
            requests=len(self._waits),
            asked_again=self._again,
            lost=self._lost,
            feature_hits=self._hits[0] / len(self._waits),
            prefix_hits=self._hits[1] / len(self._waits),
            first_token_p50_s=cuts[49],
            first_token_p99_s=cuts[98],
            busiest_to_mean=max(counts) / statistics.mean(counts),
            dispatch_us=statistics.median(self._dispatch_s) * 1e6,
        )

    def _later(self, at: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), event))

    def _join(self, now: float) -> None:
        number = next(self._numbers)
        address = f"http://10.{number >> 16}.{number >> 8 & 255}.{number & 255}:40000"
        slow = 2.0 if self._random.random() < self._load.slow_share else 1.0
        self._workers[address] = SimulatedWorker(slow)
        status = WorkerStatus(model_names=[MODEL], worker_id=str(number), capacity=SLOTS)
        self._registry.register(address, status, now)

        def beat(at: float) -> None:
            if (worker := self._workers.get(address)) is not None:
                queue_length = sum(free_at > at for free_at in worker.free_at)
                self._registry.heartbeat(address, queue_length, at)
                self._later(at + HEARTBEAT_S, beat)

        self._later(now + self._random.random() * HEARTBEAT_S, beat)

    def _churn(self, now: float) -> None:
        """Let one worker leave without a word, and another one join."""
        if not self._load.churn_per_s:
            return
        del self._workers[self._random.choice(list(self._workers))]
        self._join(now)
        self._later(now + 1 / (self._load.churn_per_s * self._load.workers), self._churn)

    def _arrive(self, now: float) -> None:
        """Begin a conversation; each of its questions is a request."""
        (image,) = self._random.choices(range(self._load.images), cum_weights=self._popularity)
        conversation = next(self._order)
        for turn in range(self._load.turns):
            at = now + turn * self._load.think_s
            self._later(at, lambda at: self._ask(image, conversation, at))
        self._later(now + self._load.turns / self._load.rate, self._arrive)

    def _ask(self, image: int, conversation: int, now: float) -> None:
        tried: list[str] = []
        while True:
            request = DispatchRequest(
                model=MODEL,
                has_images=True,
                affinity=(hash_of(image.to_bytes(8)), hash_of(conversation.to_bytes(8))),
                excluding=tuple(tried),
            )
            dispatched = self._registry.dispatch(request, now)
            started = time.perf_counter()
            try:
                worker = dispatched.__enter__()
            except NoWorker:
                self._lost += 1
                return
            self._dispatch_s.append(time.perf_counter() - started)
            if worker.address in self._workers:
                self._serve(dispatched, worker, image, conversation, now)
                return
            dispatched.__exit__(None, None, None)
            self._registry.mark_unreachable(worker)
            tried.append(worker.address)
            self._again += 1

    def _serve(
        self,
        dispatched: AbstractContextManager[RegisteredWorker],
        worker: RegisteredWorker,
        image: int,
        conversation: int,
        now: float,
    ) -> None:
        answer = self._workers[worker.address].answer(image, conversation, now)
        first_token, ends, feature_hit, prefix_hit = answer
        self._waits.append(first_token - now)
        self._hits[0] += feature_hit
        self._hits[1] += prefix_hit

        def end(_: float) -> None:
            self._running.remove(dispatched)
            dispatched.__exit__(None, None, None)

        self._running.add(dispatched)

        self._later(ends, end)


def table(outcomes: Iterable[Outcome]) -> Iterator[str]:
    yield (
        f"{'policy':16} {'workers':>7} {'requests':>9} {'again':>6} {'lost':>5} {'features':>8} "
        f"{'prefixes':>8} {'ttft p50':>8} {'p99 s':>6} {'busiest':>7} {'dispatch':>10}"
    )
    for one in outcomes:
        yield (
            f"{one.policy:16} {one.workers:7} {one.requests:9} {one.asked_again:6} {one.lost:5} "
            f"{one.feature_hits:8.1%} {one.prefix_hits:8.1%} {one.first_token_p50_s:8.3f} "
            f"{one.first_token_p99_s:6.2f} {one.busiest_to_mean:7.2f} {one.dispatch_us:7.1f} us"
        )


def plot(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw load spread, hit rates and first-token time by policy."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    names = [one.policy for one in outcomes]
    drawn = {
        "busiest worker / mean": [one.busiest_to_mean for one in outcomes],
        "feature cache hits": [one.feature_hits for one in outcomes],
        "prefix cache hits": [one.prefix_hits for one in outcomes],
        "first token, p99 (s)": [one.first_token_p99_s for one in outcomes],
    }
    for axes, (title, values) in zip(figure.subplots(1, len(drawn)), drawn.items(), strict=True):
        axes.bar(names, values)
        axes.set_title(title, fontsize=9)
        axes.tick_params(axis="x", labelrotation=40, labelsize=7)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in asdict(Load()).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    parser.add_argument("--policies", nargs="+", choices=DISPATCH, default=list(DISPATCH))
    parser.add_argument("--plot", type=Path, help="picture to write, .png or .svg")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    given = vars(parser.parse_args(argv))
    path, figures, policies = (given.pop(name) for name in ("plot", "json", "policies"))
    if path and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: python -m pip install matplotlib")
    load = Load(**given)
    outcomes = [Simulation(policy, load).run() for policy in policies]
    sys.stdout.write("\n".join(table(outcomes)) + "\n")
    if figures:
        figures.write_text(json.dumps([asdict(one) for one in outcomes], indent=1))
    if path:
        plot(outcomes, path)


if __name__ == "__main__":
    main()
