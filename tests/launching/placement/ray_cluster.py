"""A real Ray cluster on this machine, the launch that places replicas on it, and its clients."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped, unused-ignore]
from ray.cluster_utils import Cluster

from llava_serve.client import ChatClient
from llava_serve.cluster_token import TOKEN_FILE, bearer
from tests.ports import free_ports

LIMIT_S = 240.0
MODEL = "echo-a"
WORDS = " ".join(f"w{number}" for number in range(1500))  # some tenths of a second to echo

# A machine that is lost is known to be within seconds, and Ray starts nothing that is not used.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_enable_metrics_collection": "0",
}


@dataclass
class Machines:
    """Three machines with one CPU each; the first cannot be removed."""

    cluster: Any
    others: list[Any] = field(default_factory=list)
    _plain: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, gpus: int = 0) -> Any:
        """Add a machine; its GPUs are nothing but a number to Ray."""
        machine = self.cluster.add_node(num_cpus=1, num_gpus=gpus, object_store_memory=80_000_000)
        self.others.append(machine)
        return machine

    def restore(self) -> None:
        """Have three machines without GPUs, and nobody who counts on another one."""
        for machine in [one for one in self.others if one not in self._plain]:
            self.remove(machine.node_id)
        while len(self.others) < 2:
            self._plain.append(self.add())
        self.cluster.wait_for_nodes(LIMIT_S)  # those that are lost are known to be

    def remove(self, machine_id: str) -> None:
        """Cut a machine off, with all that runs there."""
        (machine,) = (one for one in self.others if one.node_id.startswith(machine_id))
        self.others.remove(machine)
        self.cluster.remove_node(machine, allow_graceful=False)

    def has(self, machine_id: str) -> bool:
        return any(one.node_id.startswith(machine_id) for one in self.others)


@contextmanager
def three_machines() -> Iterator[Machines]:
    before = dict(os.environ)
    os.environ.update(_SETTINGS)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": 80_000_000,
            "include_dashboard": False,
        },
    )
    try:
        yield Machines(cluster)
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)


@dataclass
class Launch:
    """A launch of one echo model, with `MODEL` as its name."""

    process: "subprocess.Popen[str]"
    address: str
    state: Path
    log: Path
    ray: str

    def descendants(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def workers(self) -> dict[str, psutil.Process]:
        """The worker processes on all machines, by port."""
        found = {}
        for one in psutil.process_iter(["cmdline"]):
            words = one.info["cmdline"] or []
            if "llava_serve.model_worker" in words and MODEL in words:
                found[words[words.index("--port") + 1]] = one
        return found

    async def status(self) -> list[dict[str, str]]:
        """What `launch status` shows, by column."""
        shown = (await run("llava_serve.launch", "status", "--ray", self.ray)).stdout
        head, *lines = shown.splitlines()
        begins = [head.index(name) for name in head.split()]
        ends = [*begins[1:], None]
        cells = [[line[a:b].strip() for a, b in zip(begins, ends, strict=True)] for line in lines]
        return [dict(zip(head.split(), row, strict=True)) for row in cells]


async def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a module of ours to its end."""
    command = [sys.executable, "-m", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )


def launch_flags(machines: Machines, port: int, folder: Path, spec: str) -> list[str]:
    flags = ["--no-web", "--ray", machines.address, "--state-dir", str(folder), "--model", spec]
    return [*flags, "--controller-port", str(port), "--worker-port", str(port + 1)]


@contextmanager
def launched(
    machines: Machines, folder: Path, options: str, *more: str, model: str = MODEL
) -> Iterator[Launch]:
    """Run a launch with `options` behind the model's name until the block ends."""
    port = free_ports(110)
    flags = launch_flags(machines, port, folder, f"x/a={model}:{options}")
    command = [sys.executable, "-m", "llava_serve.launch", *flags, *more]
    command += ["--", "--engine", "echo", "--limit-model-concurrency", "1"]
    log = folder / "log"
    with log.open("w") as err:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err, text=True)
    try:
        address = f"http://127.0.0.1:{port}"
        yield Launch(process, address, folder, log, machines.address)
    finally:
        process.terminate()
        process.wait(LIMIT_S)


@dataclass
class Client:
    """Asks the controller of a launch; counts answers, and keeps what went wrong."""

    launch: Launch
    session: aiohttp.ClientSession
    answered: int = 0
    lost: list[str] = field(default_factory=list)

    async def ask(self, number: int) -> None:
        asked = f"{number} {WORDS}"
        body = {"model": MODEL, "messages": [{"role": "user", "content": asked}]}
        text = ""
        client = ChatClient(self.launch.address, self.session)
        try:
            async with aclosing(client.stream(body)) as chunks:
                async for chunk in chunks:
                    text += "".join(one.delta.content or "" for one in chunk.choices)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the answer is lost
            self.lost.append(repr(exc))
            return
        self.answered += 1
        if text != asked:
            self.lost.append(f"answered {len(text)} of {len(asked)} characters")

    @asynccontextmanager
    async def asking(self, at_once: int) -> AsyncIterator[None]:
        """Ask again and again, so many at once, while the block runs; then let all end."""
        over = asyncio.Event()

        async def ask_on(first: int) -> None:
            number = first
            while not over.is_set():
                await self.ask(number)
                number += at_once

        tasks = [asyncio.create_task(ask_on(first)) for first in range(at_once)]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*tasks)

    async def workers(self) -> list[dict[str, Any]]:
        """What the controller knows of its workers; nothing before it runs."""
        token = self.launch.state / TOKEN_FILE
        try:
            headers = bearer(token.read_text().strip())
            url = f"{self.launch.address}/admin/workers"
            async with self.session.get(url, headers=headers) as answer:
                listed: list[dict[str, Any]] = await answer.json()
        except (OSError, aiohttp.ClientError):
            return []
        return listed

    async def alive(self) -> set[str]:
        return {row["address"] for row in await self.workers() if row["state"] == "alive"}

    async def until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something is so, for as long as the launch runs."""
        deadline = time.monotonic() + LIMIT_S
        while not await is_so():
            log = self.launch.log.read_text()
            assert self.launch.process.poll() is None, log
            assert time.monotonic() < deadline, log
            await asyncio.sleep(0.2)

    async def until_ready(self, count: int) -> list[dict[str, str]]:
        """Wait until `launch status` shows so many replicas, all ready, and return its rows.

        It may lag behind the controller, and on a slow machine a replica may not answer in time.
        """
        rows: list[dict[str, str]] = []

        async def is_so() -> bool:
            rows[:] = await self.launch.status()
            return [row["state"] for row in rows] == ["ready"] * count

        await self.until(is_so)
        return rows

    async def until_alive(self, count: int) -> set[str]:
        async def is_so() -> bool:
            return len(await self.alive()) == count

        await self.until(is_so)
        return await self.alive()


@asynccontextmanager
async def client_of(launch: Launch) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(trust_env=False, connector=connector) as session:
        yield Client(launch, session)
