"""Measure what the controller adds to a request: one echo worker, asked directly and through it.

Requests alternate between the two ways, so both see the same noise of the machine. Prints a table
and writes `.runs/bench_controller.json`.
"""

import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp

ROUNDS = 3
REQUESTS = 200
BODY = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}
REPORT = Path(".runs") / "bench_controller.json"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def started(module: str, *flags: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", f"llava_serve.{module}", "--log-level", "warning", *flags]
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


async def wait_until_served(session: aiohttp.ClientSession, address: str) -> None:
    for _ in range(600):
        try:
            async with session.get(f"{address}/v1/models") as answer:
                if (await answer.json())["data"]:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit(f"nothing is served at {address} after a minute")


async def latency_ms(session: aiohttp.ClientSession, address: str) -> float:
    start = time.perf_counter()
    async with session.post(f"{address}/v1/chat/completions", json=BODY) as answer:
        answer.raise_for_status()
        await answer.read()
    return (time.perf_counter() - start) * 1e3


async def measure(controller: str, worker: str) -> list[dict[str, float]]:
    rounds = []
    async with aiohttp.ClientSession(trust_env=False) as session:
        await wait_until_served(session, controller)
        for _ in range(ROUNDS):
            direct, through = [], []
            for _ in range(REQUESTS):
                direct.append(await latency_ms(session, worker))
                through.append(await latency_ms(session, controller))
            rounds.append(
                {
                    "direct_ms": statistics.median(direct),
                    "through_ms": statistics.median(through),
                    "added_ms": statistics.median(through) - statistics.median(direct),
                }
            )
    return rounds


def main() -> None:
    controller, worker = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory() as state, ExitStack() as stack:
        common = ["--state-dir", state, "--port"]
        stack.enter_context(started("controller", *common, controller.rpartition(":")[2]))
        flags = ["--engine", "echo", "--model-name", "echo", "--controller", controller]
        stack.enter_context(started("model_worker", *flags, *common, worker.rpartition(":")[2]))
        rounds = asyncio.run(measure(controller, worker))
    lines = ["round  direct ms  through ms  added ms"]
    lines += [
        f"{i:>5}  {r['direct_ms']:>9.2f}  {r['through_ms']:>10.2f}  {r['added_ms']:>8.2f}"
        for i, r in enumerate(rounds, start=1)
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    REPORT.parent.mkdir(exist_ok=True)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    REPORT.write_text(json.dumps({"machine": machine, "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
