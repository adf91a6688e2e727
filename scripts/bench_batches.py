"""Measure what a batch of picture questions costs those who ask meanwhile.

One client after the other asks a question about a new picture, with pauses as a person makes them
or none, through a real controller and the checkpoint that ships; in turns with a batch of such
questions under way and without.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai

from scripts import controllers
from scripts.bench_report import Figure, report
from scripts.bench_routing import MODEL, QUESTIONS, picture, worker
from scripts.bench_systems import data_uri

_TOKENS = 24
_PAUSES = {"pauses of 0.3 to 1.5 s": (0.3, 1.5), "no pauses": (0.0, 0.0)}
_LEAST_LINES = 3  # answered before a batch counts as under way


@dataclass(slots=True)
class Outcome:
    """The medians of each round, ms, and what a batch got done meanwhile, in lines a second."""

    alone_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)
    lines_per_s: list[float] = field(default_factory=list)

    @property
    def slower(self) -> list[float]:
        """How much slower a round was beside a batch, in percent."""
        pairs = zip(self.alone_ms, self.beside_ms, strict=True)
        return [100 * (beside / alone - 1) for alone, beside in pairs]


def body(seed: str, number: int) -> dict[str, Any]:
    """Return a question about a picture of its own."""
    parts = [
        {"type": "image_url", "image_url": {"url": data_uri(picture(seed))}},
        {"type": "text", "text": QUESTIONS[number % len(QUESTIONS)]},
    ]
    said = [{"role": "user", "content": parts}]
    return {"model": MODEL, "messages": said, "max_tokens": _TOKENS, "temperature": 0}


def batch_file(count: int) -> bytes:
    """Return the input of a batch."""
    lines = (
        {
            "custom_id": f"q-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body(f"batch {number}", number),
        }
        for number in range(count)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def ask(
    client: openai.AsyncOpenAI, seeds: Iterator[int], count: int, pause_s: tuple[float, float]
) -> float:
    """Ask one question after the other; return the median time to the whole answer, ms."""
    taken = []
    for number in range(count):
        await asyncio.sleep(random.uniform(*pause_s))
        asked = body(f"person {next(seeds)}", number)
        began = time.perf_counter()
        await client.chat.completions.create(**asked)
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken)


async def begun(client: openai.AsyncOpenAI, input_id: str) -> str:
    """Begin a batch; return its id once some lines are answered."""
    batch = await client.batches.create(
        input_file_id=input_id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    while await completed(client, batch.id) < _LEAST_LINES:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.1)
    return batch.id


async def completed(client: openai.AsyncOpenAI, batch_id: str) -> int:
    batch = await client.batches.retrieve(batch_id)
    if batch.status not in ("validating", "in_progress"):
        raise SystemExit(f"the batch is {batch.status}, which is too early: {batch.errors}")
    return batch.request_counts.completed if batch.request_counts else 0


async def ended(client: openai.AsyncOpenAI, batch_id: str) -> None:
    batch = await client.batches.cancel(batch_id)
    while batch.status != "cancelled":
        await asyncio.sleep(0.1)
        batch = await client.batches.retrieve(batch_id)


async def measure(address: str, asked: argparse.Namespace) -> dict[str, Outcome]:
    outcomes = {name: Outcome() for name in _PAUSES}
    seeds = itertools.count()
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:
        while not (await client.models.list()).data:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.2)
        content = batch_file(asked.lines)
        kept = await client.files.create(file=("in.jsonl", content), purpose="batch")
        await ask(client, seeds, 3, (0, 0))
        for round_ in range(asked.rounds):
            for name, pause_s in _PAUSES.items():
                outcome = outcomes[name]
                outcome.alone_ms.append(await ask(client, seeds, asked.questions, pause_s))
                batch_id = await begun(client, kept.id)
                before, began = await completed(client, batch_id), time.monotonic()
                outcome.beside_ms.append(await ask(client, seeds, asked.questions, pause_s))
                done = await completed(client, batch_id) - before
                outcome.lines_per_s.append(done / (time.monotonic() - began))
                await ended(client, batch_id)
            sys.stderr.write(f"round {round_ + 1} of {asked.rounds} done\n")
    return outcomes


def figures_of(name: str, outcome: Outcome) -> list[Figure]:
    return [
        Figure(f"{name}: alone, median", "ms", (*outcome.alone_ms,)),
        Figure(f"{name}: beside a batch, median", "ms", (*outcome.beside_ms,)),
        Figure(f"{name}: slower beside a batch", "%", (*outcome.slower,), "10 at most"),
        Figure(f"{name}: what the batch got done", "lines/s", (*outcome.lines_per_s,)),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--questions", type=int, default=20, help="of people, in each turn")
    parser.add_argument("--lines", type=int, default=1000, help="of the batch")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        with controllers.our_controller("ours", state) as way, worker([way], state):
            outcomes = asyncio.run(measure(way.address, asked))
    figures = [each for pair in outcomes.items() for each in figures_of(*pair)]
    report("batches", figures, lines=asked.lines, questions=asked.questions)


if __name__ == "__main__":
    main()
