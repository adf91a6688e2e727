"""Measure the controller: what it adds to a request, with many streams open and without.

Keys, limits and metrics are on. Ways to ask alternate, so that all see the same noise of
the machine. With --before an earlier checkout's controller is asked too, and so are LiteLLM's proxy
and sglang-router where scripts/proxies_env.sh has installed them.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from llava_serve.cluster_token import bearer
from scripts import controllers
from scripts.bench_report import Figure, report
from scripts.bench_streams import time_streams, worker_status
from scripts.bench_systems import free_port, started
from scripts.controllers import BARE, Way

BODY: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}
_WARM_UP = 50  # requests


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that such a part of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


async def latency_ms(session: aiohttp.ClientSession, way: Way) -> float:
    """Return what a short request takes."""
    body = BODY | {"model": way.model}
    start = time.perf_counter()
    url = f"{way.address}/v1/chat/completions"
    async with session.post(url, json=body, headers=way.headers) as answer:
        content = await answer.read()
    if answer.status != 200:
        raise SystemExit(f"{way.name} answered {answer.status}: {content[:500]!r}")
    return (time.perf_counter() - start) * 1e3


async def alternating(
    session: aiohttp.ClientSession, ways: Sequence[Way], requests: int
) -> list[list[float]]:
    """Return the latencies of each way, ms; requests come one after the other."""
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(requests):
        for one, way in zip(taken, ways, strict=True):
            one.append(await latency_ms(session, way))
    return taken


async def burst(way: Way, clients: int, requests: int) -> float:
    """Return how many short requests a second are answered."""
    left = iter(range(requests))
    async with aiohttp.ClientSession(
        trust_env=False, connector=aiohttp.TCPConnector(limit=0)
    ) as session:

        async def ask() -> None:
            for _ in left:
                await latency_ms(session, way)

        start = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(clients)))
        return requests / (time.perf_counter() - start)


async def beside_streams(
    direct: Way, through: Way, streams: int, seconds: float
) -> dict[str, float]:
    """Return what short requests and records take while so many streams are open, by name."""
    before = controllers.resident_bytes(through.pid)
    headers = dict(through.headers)
    open_ones = await time_streams(through.address, streams, seconds, headers)
    for one in open_ones:
        one.delays_ms.clear()
    until = time.monotonic() + seconds - 2  # one second has passed with opening them
    pairs = []
    async with aiohttp.ClientSession(trust_env=False) as session:
        while time.monotonic() < until:
            pairs.append([await latency_ms(session, way) for way in (direct, through)])
            await asyncio.sleep(0.01)
    held_bytes = controllers.resident_bytes(through.pid) - before
    delays = [delay for one in open_ones for delay in one.delays_ms]
    await asyncio.gather(*(one.ended for one in open_ones))
    added = [through_ms - direct_ms for direct_ms, through_ms in pairs]
    return {
        "request_median": statistics.median(added),
        "request_p99": quantile(added, 0.99),
        "record_median": statistics.median(delays),
        "record_p99": quantile(delays, 0.99),
        "kb": held_bytes / streams / 1e3,
    }


async def directly(paced: Way, streams: int, seconds: float) -> tuple[float, float]:
    """Return the median and p99 delay of records that nothing is between."""
    open_ones = await time_streams(paced.address, streams, seconds, {})
    await asyncio.gather(*(one.ended for one in open_ones))
    delays = [delay for one in open_ones for delay in one.delays_ms]
    return statistics.median(delays), quantile(delays, 0.99)


async def wait_until_served(session: aiohttp.ClientSession, way: Way) -> None:
    """Wait until a way leads to a worker that answers."""
    body = BODY | {"model": way.model, "max_tokens": 1}
    url = f"{way.address}/v1/chat/completions"
    for _ in range(600):
        async with session.post(url, json=body, headers=way.headers) as answer:
            await answer.read()
            if answer.status == 200:
                return
        await asyncio.sleep(0.1)
    raise SystemExit(f"{way.model} is not served at {way.address} after a minute")


async def join(session: aiohttp.ClientSession, way: Way, state: Path, worker: str) -> None:
    """Register the worker of paced streams."""
    token = (state / "cluster-token").read_text().strip()
    body = {"worker_name": worker, "worker_status": worker_status("paced")}
    url = f"{way.address}/register_worker"
    async with session.post(
        url, json=body | {"check_heart_beat": False}, headers=bearer(token)
    ) as answer:
        answer.raise_for_status()


class Bench:
    """All that is asked, started once."""

    def __init__(self, asked: argparse.Namespace, stack: ExitStack) -> None:
        self._asked = asked
        self._stack = stack
        self._state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key = controllers.make_key(self._state)
        controller = controllers.our_controller("controller", self._state, "--require-keys")
        ours = stack.enter_context(controller)
        self.through = Way("controller", ours.address, bearer(key), ours.pid)
        self.paced = self._start("paced worker", BARE, "scripts.bench_streams")
        name, key_header = "controller, bare worker", bearer(key)
        self.through_bare = Way(name, ours.address, key_header, ours.pid, BARE)
        self.worker = self._echo(ours)
        self.others = list(self._others())

    def _start(self, name: str, model: str, module: str, *flags: str) -> Way:
        port = free_port()
        command = [sys.executable, "-m", module, "--port", str(port), *flags]
        self._stack.enter_context(started(command, port))
        return Way(name, f"http://127.0.0.1:{port}", model=model)

    def _echo(self, controller: Way) -> Way:
        flags = ["--engine", "echo", "--model-name", "echo", "--limit-model-concurrency", "64"]
        flags += ["--log-level", "warning", "--state-dir", str(self._state)]
        flags += ["--controller", controller.address]
        return self._start("worker", "echo", "llava_serve.model_worker", *flags)

    def _others(self) -> Sequence[Way]:
        found, enter = [], self._stack.enter_context
        if self._asked.before is not None:
            before = controllers.our_controller(
                "controller before", self._state, checkout=self._asked.before.resolve()
            )
            found.append(enter(before))
            self._echo(found[-1])
        if "litellm" in controllers.installed():
            found.append(enter(controllers.litellm(self.worker.address, self._state)))
        if "router" in controllers.installed():
            found.append(enter(controllers.sglang_router([self.worker.address], "echo")))
        return found

    async def measure(self) -> list[Figure]:
        asked = self._asked
        rounds = range(asked.rounds)
        async with aiohttp.ClientSession(trust_env=False) as session:
            await join(session, self.through, self._state, self.paced.address)
            for way in (self.through, *self.others):
                await wait_until_served(session, way)
            ways = [self.worker, self.through, *self.others]
            await alternating(session, ways, _WARM_UP)
            alone = [await alternating(session, ways[:2], asked.requests) for _ in rounds]
        streams = asked.streams, asked.seconds
        bare = [await directly(self.paced, *streams) for _ in rounds]
        beside = [await beside_streams(self.paced, self.through_bare, *streams) for _ in rounds]
        bursts = [
            [await burst(way, asked.clients, asked.burst) for way in ways[1:]] for _ in rounds
        ]
        return [
            Figure("added to a request, alone", "ms", tuple(_added(one) for one in alone)),
            *_stream_figures(asked.streams, bare, beside),
            *_burst_figures([way.name for way in ways[1:]], bursts),
        ]


def _added(taken: Sequence[Sequence[float]]) -> float:
    direct, through = map(statistics.median, taken)
    return through - direct


def _stream_figures(
    streams: int, bare: Sequence[tuple[float, float]], beside: Sequence[dict[str, float]]
) -> list[Figure]:
    def of(name: str) -> tuple[float, ...]:
        return tuple(one[name] for one in beside)

    medians, p99s = zip(*bare, strict=True)
    more = f"{streams} streams open: "
    return [
        Figure(f"{more}added to a request, median", "ms", of("request_median"), "<= 2"),
        Figure(f"{more}added to a request, p99", "ms", of("request_p99"), "<= 10"),
        Figure(f"{more}a record's way, median", "ms", of("record_median")),
        Figure(f"{more}a record's way, p99", "ms", of("record_p99")),
        Figure(f"{more}a record's way without controller, median", "ms", medians),
        Figure(f"{more}a record's way without controller, p99", "ms", p99s),
        Figure("memory of an open stream", "kB", of("kb")),
    ]


def _burst_figures(names: Sequence[str], bursts: Sequence[Sequence[float]]) -> list[Figure]:
    by_name = dict(zip(names, zip(*bursts, strict=True), strict=True))
    goals = {"controller before": ">= 1", "LiteLLM": ">= 3"}
    ours = by_name["controller"]
    figures = [Figure(f"short requests: {name}", "1/s", by_name[name]) for name in names]
    for name in names[1:]:
        ratios = tuple(a / b for a, b in zip(ours, by_name[name], strict=True))
        figures.append(Figure(f"controller / {name}", "", ratios, goals.get(name, "")))
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured")
    parser.add_argument("--requests", type=int, default=200, help="one after the other, a round")
    parser.add_argument("--streams", type=int, default=500, help="open at once")
    parser.add_argument("--seconds", type=float, default=6.0, help="that a stream lasts")
    parser.add_argument("--clients", type=int, default=48, help="that ask at once")
    parser.add_argument("--burst", type=int, default=2000, help="short requests of theirs, a round")
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit, to compare")
    asked = parser.parse_args(argv)
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report("controller", runner.run(Bench(asked, stack).measure()))


if __name__ == "__main__":
    main()
