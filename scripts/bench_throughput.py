"""Measure how much is answered a second: our worker beside `generate` and `transformers serve`.

The systems take turns within each round, so that all see the same noise of the machine.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from llava_serve.tiny import CHECKPOINT
from scripts.bench_checkpoint import write_half_billion
from scripts.bench_report import Figure, report
from scripts.bench_systems import Chat, Generate, Run, System, our_worker, transformers_serve
from scripts.tiny.dialogue import ask_about
from scripts.tiny.recipe import Recipe
from scripts.tiny.scenes import random_scene
from scripts.tiny.world import draw

_PICTURE = (384, 384)  # (width, height)
_TOKENS = 64
_TEXT = "Tell me more about number {:>4}."  # with the template about 50 tokens, one a byte
_TURNS = 4  # questions of a chat about a picture
_LLAVA_THREADS = 5  # how many LLaVA's own worker lets call `generate` at once


def main() -> None:
    rounds = _parse()
    dtype = fastest_dtype()
    with tempfile.TemporaryDirectory() as folder:
        write_half_billion(Path(folder))
        figures = compare(Path(folder), dtype, TEXTS, rounds)
    figures += compare(CHECKPOINT, torch.float32, PICTURES, rounds)
    report("throughput", figures, dtype=_name(dtype))


def fastest_dtype() -> torch.dtype:
    """Choose bfloat16 where the processor multiplies it; elsewhere it is slower than float32."""
    has = torch.cpu.get_capabilities()
    return torch.bfloat16 if has.get("amx_bf16") or has.get("avx512_bf16") else torch.float32


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class Goal:
    """How many times as fast as `against` ours is to be; None stands for the best of the others."""

    at_least: float
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What every system is asked, and in which unit its speed is told.

    `loads` are (chats at once, chats in all), and what is to be reached with them.
    """

    name: str
    draw: Callable[[int, Random], list[Chat]]
    loads: dict[tuple[int, int], Goal]
    unit: str
    rate: Callable[[Run], float]


def compare(checkpoint: Path, dtype: torch.dtype, work: Work, rounds: int) -> list[Figure]:
    """Let each system hold the same fresh chats in each round."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        slots = str(max(at_once for at_once, _ in work.loads))
        worker = our_worker(checkpoint, _name(dtype), "--limit-model-concurrency", slots)
        ours, _ = stack.enter_context(worker)
        served = stack.enter_context(transformers_serve(checkpoint, _name(dtype)))
        generate = Generate(checkpoint, dtype)
        systems: list[System] = [ours, served, generate, generate.on_threads(_LLAVA_THREADS)]
        for system in systems:
            system.run(work.draw(1, Random("warm-up")), at_once=1)
        for (at_once, count), goal in work.loads.items():
            measured: dict[str, list[float]] = {system.name: [] for system in systems}
            for turn in range(rounds):
                chats = work.draw(count, Random(f"{at_once} {turn}"))
                for system in systems:
                    measured[system.name].append(work.rate(system.run(chats, at_once)))
            figures += _rows(f"{work.name}, {at_once} at once", work.unit, measured, goal)
    return figures


def _rows(load: str, unit: str, measured: dict[str, list[float]], goal: Goal) -> list[Figure]:
    rows = [Figure(f"{load}: {name}", unit, tuple(values)) for name, values in measured.items()]
    ours = measured.pop("ours")
    best = max(measured, key=lambda name: statistics.median(measured[name]))
    against = goal.against or best
    ratios = tuple(mine / other for mine, other in zip(ours, measured[against], strict=True))
    ratio = Figure(f"{load}: ours / {against}", "times", ratios, f"at least {goal.at_least:g}")
    return [*rows, ratio]


def _texts(count: int, rng: Random) -> list[Chat]:
    return [
        Chat((_TEXT.format(rng.randrange(10_000)),), _TOKENS, is_exact=True) for _ in range(count)
    ]


def _pictures(count: int, rng: Random) -> list[Chat]:
    """Draw chats of several questions, each about a picture that nobody has seen before."""
    chats = []
    for _ in range(count):
        scene = random_scene(rng, _PICTURE)
        turns = ask_about(rng, scene, Recipe(turns=_TURNS))
        questions = tuple(turn.question for turn in turns)
        chats.append(Chat(questions, _TOKENS, draw(scene, _PICTURE)))
    return chats


TEXTS = Work(
    "0.5B shapes, text",
    _texts,
    {(1, 1): Goal(0.95, "generate"), (8, 8): Goal(4)},
    "tokens/s",
    lambda run: run.tokens / run.seconds,
)
PICTURES = Work(
    "bundled, chats with pictures",
    _pictures,
    {(16, 48): Goal(5, "transformers serve")},
    "requests/s",
    lambda run: run.answers / run.seconds,
)


def _parse() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    return int(parser.parse_args().rounds)


if __name__ == "__main__":
    main()
