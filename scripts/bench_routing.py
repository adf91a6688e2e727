"""Measure how requests meet the caches of four workers, by dispatch policy, beside sglang-router.

Conversations about pictures, popular ones often (Zipf), go to the same four workers through one
controller for each policy, and through sglang-router where scripts/proxies_env.sh has installed it.
Every way gets the same conversations about pictures of its own, so that none finds what another one
left in the caches.
"""

import argparse
import asyncio
import itertools
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
from PIL import Image, ImageDraw

from llava_serve.tiny import CHECKPOINT
from scripts import controllers
from scripts.bench_controller import quantile, wait_until_served
from scripts.bench_report import Figure, report
from scripts.bench_systems import Chat, Served, free_port, started
from scripts.controllers import Way

MODEL = "bench"
POLICIES = ("shortest_queue", "picture_affine")
WORKERS = 4
QUESTIONS = ("What color is the circle?", "How many shapes are there?", "Describe the picture.")
COUNTERS = (
    *("mm_cache_hits", "mm_cache_queries"),
    *("prefix_cache_hits", "prefix_cache_queries"),
)


@dataclass(slots=True)
class Outcome:
    """What one way was like, a value for each round."""

    feature_hits: list[float] = field(default_factory=list)
    prefix_hits: list[float] = field(default_factory=list)
    median_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)


def conversations(asked: argparse.Namespace, round_: int, way: int) -> list[Chat]:
    """Return the conversations of one round; the pictures of another way are others."""
    popular = random.Random(round_)
    ranks = range(asked.pictures)
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in ranks))
    drawn = [picture(f"{round_} {way} {rank}") for rank in ranks]
    chosen = popular.choices(drawn, cum_weights=weights, k=asked.conversations)
    return [Chat(QUESTIONS, 16, image) for image in chosen]


def picture(seed: str) -> Image.Image:
    draw = random.Random(seed)
    image = Image.new("RGB", (336, 336), tuple(draw.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y, size = draw.randrange(250), draw.randrange(250), draw.randrange(30, 86)
        color = tuple(draw.randrange(256) for _ in range(3))
        pen.ellipse((x, y, x + size, y + size), fill=color)
    return image


async def hold(way: Way, chats: Sequence[Chat], at_once: int) -> list[float]:
    """Hold all conversations; return the times to the first text, ms."""
    served = Served(way.name, way.address, MODEL, can_go_on=False)
    limit = asyncio.Semaphore(at_once)
    taken: list[float] = []

    async def converse(session: aiohttp.ClientSession, chat: Chat) -> None:
        async with limit:
            body = served.body(chat)
            for question in (*chat.questions[1:], ""):
                start, text = time.perf_counter(), ""
                async for chunk in served.stream(session, body):
                    delta = chunk["choices"][0]["delta"] if chunk.get("choices") else {}
                    if (new := delta.get("content")) and not text:
                        taken.append((time.perf_counter() - start) * 1e3)
                    text += new or ""
                body["messages"] += [
                    {"role": "assistant", "content": text},
                    {"role": "user", "content": question},
                ]

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session:
        await asyncio.gather(*(converse(session, chat) for chat in chats))
    return taken


async def counted(workers: Sequence[str]) -> dict[str, float]:
    """Return the sums of the workers' cache counters."""
    sums = dict.fromkeys(COUNTERS, 0.0)
    async with aiohttp.ClientSession() as session:
        for worker in workers:
            async with session.get(f"{worker}/metrics") as answer:
                text = await answer.text()
            for name in COUNTERS:
                found = re.search(rf"^llava_worker_{name}_total (\S+)$", text, re.MULTILINE)
                if found is None:
                    raise SystemExit(f"{worker} does not count {name}")
                sums[name] += float(found[1])
    return sums


async def measure(
    ways: Sequence[Way], workers: Sequence[str], asked: argparse.Namespace
) -> list[Outcome]:
    outcomes = [Outcome() for _ in ways]
    async with aiohttp.ClientSession() as session:
        for way in ways:
            await wait_until_served(session, way)
    for round_ in range(asked.rounds):
        for number, (way, outcome) in enumerate(zip(ways, outcomes, strict=True)):
            before = await counted(workers)
            taken = await hold(way, conversations(asked, round_, number), asked.at_once)
            sys.stderr.write(f"round {round_ + 1} of {asked.rounds}: {way.name} done\n")
            after = await counted(workers)
            new = {name: after[name] - before[name] for name in COUNTERS}
            outcome.feature_hits.append(new["mm_cache_hits"] / new["mm_cache_queries"])
            outcome.prefix_hits.append(new["prefix_cache_hits"] / new["prefix_cache_queries"])
            outcome.median_ms.append(statistics.median(taken))
            outcome.p99_ms.append(quantile(taken, 0.99))
    return outcomes


def figures_of(way: Way, outcome: Outcome) -> list[Figure]:
    return [
        Figure(f"{way.name}: pictures in the feature caches", "part", (*outcome.feature_hits,)),
        Figure(f"{way.name}: prompt tokens in the prefix caches", "part", (*outcome.prefix_hits,)),
        Figure(f"{way.name}: first text, median", "ms", (*outcome.median_ms,)),
        Figure(f"{way.name}: first text, p99", "ms", (*outcome.p99_ms,)),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--conversations", type=int, default=120, help="in a round, of each way")
    parser.add_argument("--pictures", type=int, default=60, help="different ones, of each way")
    parser.add_argument("--at-once", type=int, default=8, help="conversations held at once")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        state = Path(folder)
        ways = [
            replace(stack.enter_context(one), model=MODEL)
            for one in (
                controllers.our_controller(policy, state, "--dispatch-method", policy)
                for policy in POLICIES
            )
        ]
        workers = [stack.enter_context(worker(ways, state)) for _ in range(WORKERS)]
        if "router" in controllers.installed():
            router = controllers.sglang_router(workers, MODEL, "cache_aware")
            ways.append(stack.enter_context(router))
        outcomes = asyncio.run(measure(ways, workers, asked))
    rows = [row for pair in zip(ways, outcomes, strict=True) for row in figures_of(*pair)]
    report("routing", rows, workers=WORKERS, conversations=asked.conversations)


@contextmanager
def worker(ways: Sequence[Way], state: Path) -> Iterator[str]:
    """Start a worker that all controllers know; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "llava_serve.model_worker", "--port", str(port)]
    command += ["--model-path", str(CHECKPOINT), "--model-name", MODEL, "--log-level", "warning"]
    command += ["--state-dir", str(state)]
    for way in ways:
        command += ["--controller", way.address]
    with started(command, port):
        yield f"http://127.0.0.1:{port}"


if __name__ == "__main__":
    main()
