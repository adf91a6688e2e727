"""Measure what our worker's users feel: first tokens, gaps under load, cancelling, what is held."""

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import psutil
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from llava_serve.tiny import CHECKPOINT
from scripts.bench_checkpoint import TILE, write_half_billion
from scripts.bench_report import Figure, report
from scripts.bench_systems import Chat, Served, our_worker
from scripts.bench_throughput import PICTURES, fastest_dtype

_LONG_PROMPT = 3000  # tokens, one a byte
_STREAMS = 4
_CANCELS = 20
_CHATS = 12  # different ones, so that what is kept of pictures is kept early
_EARLY, _LATE = 13, 125  # chats of four questions each
_FEW_TOKENS = 8192  # a cache that is all in use before the first look
_IDLE_S = 10.0


_GOALS = {
    "first token of turn 2 / of turn 1": "at most 0.1",
    "first token, picture seen, same text before it / new": "at most 0.1",
    "first token, picture seen, other text before it / new": "at most 0.6",
    "p99 gap between tokens, a 3,000-token prompt beside / alone": "at most 3",
    "cancel to free, 99 of 100 within": "a decode step + 50",
    f"memory after {_LATE} chats / after {_EARLY}": "at most 1.02",
    "CPU of an idle worker": "under 1",
}


@dataclass
class Measured:
    """What the rounds have gathered, by what was measured and its unit."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, name: str, unit: str, value: float) -> None:
        self.values.setdefault((name, unit), []).append(value)

    def figures(self) -> list[Figure]:
        return [
            Figure(name, unit, tuple(values), _GOALS.get(name, ""))
            for (name, unit), values in self.values.items()
        ]


async def first_token(
    worker: Served, session: aiohttp.ClientSession, body: dict[str, Any]
) -> tuple[float, str]:
    """Return the seconds to the first chunk of an answer, and the whole answer."""
    start = time.perf_counter()
    first, said = 0.0, ""
    async for chunk in worker.stream(session, body):
        for choice in chunk["choices"]:
            first = first or time.perf_counter() - start
            said += choice["delta"].get("content") or ""
    return first, said


async def measure_reuse(worker: Served, rng: Random, measured: Measured) -> None:
    """Time the first token of a picture's first question, and of those that can reuse something."""
    async with aiohttp.ClientSession() as session:
        picture = _noise(rng)
        new, said = await first_token(worker, session, _about(worker, picture, "", "What is it?"))
        body = _about(worker, picture, "", "What is it?")
        body["messages"] += [
            {"role": "assistant", "content": said},
            {"role": "user", "content": "And what else?"},
        ]
        second, _ = await first_token(worker, session, body)
        body = _about(worker, picture, "", "Where was it?")
        same, _ = await first_token(worker, session, body)
        body = _about(worker, picture, "You see pictures.", "What is it?")
        other, _ = await first_token(worker, session, body)
    measured.add("first token, new picture", "s", new)
    measured.add("first token of turn 2 / of turn 1", "times", second / new)
    measured.add("first token, picture seen, same text before it / new", "times", same / new)
    measured.add("first token, picture seen, other text before it / new", "times", other / new)


async def measure_gaps(worker: Served, rng: Random, measured: Measured) -> None:
    """Time the gaps between the tokens of running answers, alone and beside a long new prompt."""
    async with aiohttp.ClientSession() as session:
        alone = await _gaps(worker, session, rng, None)
        beside = await _gaps(worker, session, rng, "x" * _LONG_PROMPT)
    measured.add(
        "p99 gap between tokens, a 3,000-token prompt beside / alone", "times", beside / alone
    )


async def _gaps(
    worker: Served, session: aiohttp.ClientSession, rng: Random, prompt: str | None
) -> float:
    """Return the 99th percentile of the gaps, seconds, from when all streams run."""
    arrivals: list[list[float]] = [[] for _ in range(_STREAMS)]
    running = asyncio.Event()

    async def read(times: list[float]) -> None:
        body = worker.body(Chat((f"Number {rng.randrange(10_000)}.",), 96, is_exact=True))
        async for _ in worker.stream(session, body):
            times.append(time.perf_counter())
            if all(len(each) > 8 for each in arrivals):
                running.set()

    async def interrupt() -> None:
        await running.wait()
        if prompt is not None:
            await worker.answer(session, worker.body(Chat((prompt,), 1, is_exact=True)))

    await asyncio.gather(interrupt(), *(read(times) for times in arrivals))
    gaps = [b - a for times in arrivals for a, b in pairwise(times[8:-2])]
    return statistics.quantiles(gaps, n=100)[98]


async def measure_cancels(worker: Served, measured: Measured) -> None:
    """Let clients leave in the midst of their answers; the worker times how soon it is free."""
    chat = Chat(("Go on and on.",), 400, is_exact=True)
    async with aiohttp.ClientSession() as session:
        for _ in range(_CANCELS):
            async with aclosing(worker.stream(session, worker.body(chat))) as chunks:
                for _ in range(4):
                    await anext(chunks)
        whole = worker.body(Chat(chat.questions, 64, is_exact=True))
        speed = (await worker.answer(session, whole))["timings"]["decode_tokens_per_s"]
        measured.add("cancel to free, 99 of 100 within", "ms", 1e3 * await _cancel_p99(worker))
    measured.add("a decode step", "ms", 1e3 / speed)


async def _cancel_p99(worker: Served) -> float:
    """Return the upper edge of the bucket of the worker's histogram that holds the percentile."""
    url = f"{worker.address}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    (family,) = (
        each
        for each in text_string_to_metric_families(text)
        if each.name == "llava_worker_cancel_to_free_seconds"
    )
    buckets = [s for s in family.samples if s.name.endswith("_bucket")]
    return next(float(s.labels["le"]) for s in buckets if s.value >= 0.99 * buckets[-1].value)


def measure_memory(worker: Served, pid: int, measured: Measured) -> None:
    """Compare what the worker holds after many requests with what it held after a few."""
    chats = PICTURES.draw(_CHATS, Random("memory"))
    process = psutil.Process(pid)
    held = []
    for turn in range(_LATE):
        worker.run([chats[turn % _CHATS]], at_once=1)
        if turn + 1 in (_EARLY, _LATE):
            held.append(process.memory_info().rss)
    measured.add(f"memory after {_LATE} chats / after {_EARLY}", "times", held[1] / held[0])


def measure_idling(pid: int, measured: Measured) -> None:
    """Say what share of a core the worker takes while nobody asks anything."""
    process = psutil.Process(pid)
    before = process.cpu_times()
    time.sleep(_IDLE_S)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    measured.add("CPU of an idle worker", "% of a core", 100 * used / _IDLE_S)


def _about(worker: Served, picture: Image.Image, before: str, question: str) -> dict[str, Any]:
    """What is posted to ask about a picture, with a text before it."""
    body = worker.body(Chat((question,), 16, picture, is_exact=True))
    if before:
        body["messages"].insert(0, {"role": "system", "content": before})
    return body


def _noise(rng: Random) -> Image.Image:
    """A picture that nobody has seen."""
    return Image.frombytes("RGB", (TILE, TILE), rng.randbytes(3 * TILE * TILE))


async def _measure_large(worker: Served, rounds: int, measured: Measured) -> None:
    rng = Random("latency")
    await measure_reuse(worker, rng, Measured())  # warms up
    for _ in range(rounds):
        await measure_reuse(worker, rng, measured)
        await measure_gaps(worker, rng, measured)
    await measure_cancels(worker, measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    measured = Measured()
    dtype = str(fastest_dtype()).removeprefix("torch.")
    with tempfile.TemporaryDirectory() as folder:
        write_half_billion(Path(folder))
        flags = ["--limit-model-concurrency", str(_STREAMS + 1)]
        with our_worker(Path(folder), dtype, *flags) as (worker, _):
            asyncio.run(_measure_large(worker, rounds, measured))
    with our_worker(CHECKPOINT, "float32", "--kv-cache-tokens", str(_FEW_TOKENS)) as (worker, pid):
        measure_memory(worker, pid, measured)
        measure_idling(pid, measured)
    report("latency", measured.figures(), dtype=dtype)


if __name__ == "__main__":
    main()
