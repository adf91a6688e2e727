"""Measure what a grammar costs: tokens a second of answers at once, with one each and without.

The engine alone, with the checkpoint that ships: rounds without a grammar, with a schema and with a
regular expression take turns, and answers of all three have as many tokens.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.request import Conversation, GenerateRequest, Message, SamplingParams
from scripts.bench_report import Figure, report

_TOKENS = 200  # of each answer
_ITEM = {"type": "object", "properties": {"color": {"type": "string", "maxLength": 12}}}
_SCHEMA = json.dumps({"type": "array", "items": _ITEM, "minItems": _TOKENS})
_FORMATS: dict[str, dict[str, Any]] = {
    "none": {},
    "schema": {"json_schema": _SCHEMA},
    "regex": {"regex": r"([a-z]{1,9} ){500}"},
}


def request(number: int, sampling: dict[str, Any]) -> GenerateRequest:
    question = Message("user", (f"Question {number}: say something.",))
    params = {"max_new_tokens": _TOKENS, "ignore_eos": True, "temperature": 1.0, "seed": number}
    return GenerateRequest(
        request_id=f"bench-{number}",
        prompt=Conversation((question,)),
        sampling=SamplingParams(**params | sampling),
    )


async def tokens_per_s(engine: TorchEngine, count: int, sampling: dict[str, Any]) -> float:
    """Return how fast so many answers at once come, all together."""

    async def answer(number: int) -> int:
        deltas = [delta async for delta in engine.stream(request(number, sampling))]
        usage = deltas[-1].usage
        assert usage is not None
        return usage.completion_tokens

    began = time.perf_counter()
    tokens = await asyncio.gather(*map(answer, range(count)))
    return sum(tokens) / (time.perf_counter() - began)


async def measure(engine: TorchEngine, count: int, rounds: int) -> dict[str, list[float]]:
    measured: dict[str, list[float]] = {name: [] for name in _FORMATS}
    for round_ in range(-1, rounds):  # the first one warms up
        for name, sampling in _FORMATS.items():
            speed = await tokens_per_s(engine, count, sampling)
            if round_ >= 0:
                measured[name].append(speed)
    return measured


def figures_of(count: int, measured: dict[str, list[float]]) -> list[Figure]:
    figures = [
        Figure(f"{count} at once, {name}", "tokens/s", (*speeds,))
        for name, speeds in measured.items()
    ]
    for name in ("schema", "regex"):
        pairs = zip(measured[name], measured["none"], strict=True)
        ratios = tuple(with_one / without for with_one, without in pairs)
        figures.append(Figure(f"{count} at once, {name} to none", "times", ratios, "0.9 at least"))
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--at-once", type=int, default=8)
    asked = parser.parse_args(argv)
    loaded = load(ModelConfig(device="cpu"))
    engine = TorchEngine(loaded, choose_budget(loaded, slots=asked.at_once))
    try:
        measured = asyncio.run(measure(engine, asked.at_once, asked.rounds))
    finally:
        engine.close()
    report("grammar", figures_of(asked.at_once, measured), at_once=asked.at_once)


if __name__ == "__main__":
    main()
