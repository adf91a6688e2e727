"""Measure what the controller adds to a request: one echo worker, asked directly and through it.

Requests alternate between the two ways, so both see the same noise of the machine.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack

import aiohttp

from scripts.bench_report import Figure, report
from scripts.bench_systems import free_port, started

ROUNDS = 3
REQUESTS = 200
BODY = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}


async def latency_ms(session: aiohttp.ClientSession, address: str) -> float:
    start = time.perf_counter()
    async with session.post(f"{address}/v1/chat/completions", json=BODY) as answer:
        answer.raise_for_status()
        await answer.read()
    return (time.perf_counter() - start) * 1e3


async def measure(controller: str, worker: str) -> dict[str, list[float]]:
    """Return the medians of each round, milliseconds."""
    medians: dict[str, list[float]] = {"direct": [], "through": []}
    async with aiohttp.ClientSession(trust_env=False) as session:
        await wait_until_served(session, controller)
        for _ in range(ROUNDS):
            direct, through = [], []
            for _ in range(REQUESTS):
                direct.append(await latency_ms(session, worker))
                through.append(await latency_ms(session, controller))
            medians["direct"].append(statistics.median(direct))
            medians["through"].append(statistics.median(through))
    return medians


async def wait_until_served(session: aiohttp.ClientSession, address: str) -> None:
    """Wait for the worker to join."""
    for _ in range(600):
        async with session.get(f"{address}/v1/models") as answer:
            if (await answer.json())["data"]:
                return
        await asyncio.sleep(0.1)
    raise SystemExit(f"nothing is served at {address} after a minute")


def main() -> None:
    ports = free_port(), free_port()
    controller, worker = (f"http://127.0.0.1:{port}" for port in ports)
    with tempfile.TemporaryDirectory() as state, ExitStack() as stack:

        def start(module: str, port: int, *flags: str) -> None:
            command = [sys.executable, "-m", f"llava_serve.{module}", "--log-level", "warning"]
            command += ["--state-dir", state, "--port", str(port), *flags]
            stack.enter_context(started(command, port))

        start("controller", ports[0])
        flags = ["--engine", "echo", "--model-name", "echo", "--controller", controller]
        start("model_worker", ports[1], *flags)
        medians = asyncio.run(measure(controller, worker))
    added = [b - a for a, b in zip(medians["direct"], medians["through"], strict=True)]
    figures = [
        Figure("a worker asked directly", "ms", tuple(medians["direct"])),
        Figure("the same worker asked through the controller", "ms", tuple(medians["through"])),
        Figure("added by the controller", "ms", tuple(added)),
    ]
    report("controller", figures)


if __name__ == "__main__":
    main()
