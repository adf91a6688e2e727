"""Replica: the Ray actor that keeps one worker, and its SGLang server, running on its machine."""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import psutil
import ray

from llava_serve.cluster_token import TOKEN_FILE, bearer
from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.http.tls import trust
from llava_serve.launching import sglang_server
from llava_serve.launching.placement.replica_plan import ReplicaPlan
from llava_serve.launching.plan import Process, replica_stages
from llava_serve.launching.supervisor import Readiness, RestartBackoff, Supervisor
from llava_serve.secret_file import write_secret

_FOLDER = "llava-replica-"
_KEPT_LINES = 1000
_NEXT_PORT = 100  # between two tries, so that replicas that count up do not meet


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What a replica says of itself; `lines` are numbered, and those not told before."""

    life: str  # another one after each start of the actor
    machine: str
    address: str | None
    missing: str | None  # before its worker is ready
    failure: tuple[str, str] | None  # of the last start: message and remedy
    model: str
    gpus: float
    restarts: int
    lines: tuple[tuple[int, str], ...] = ()


class Replica:
    """Runs a small launch of its own: the processes of one replica, supervised.

    Ray makes it anew on another machine when this one is lost.
    """

    def __init__(self, plan: ReplicaPlan) -> None:
        self._plan = plan
        self._life = secrets.token_hex(4)
        self._host = str(ray.util.get_node_ip_address())
        ray_id = ray.get_runtime_context().get_node_id()
        self._machine = f"{self._host} ({ray_id[:8]})"
        self._lines = LineBuffer(plan.name)
        self._address: str | None = None
        self._missing: str | None = "its processes start"
        self._failure: tuple[str, str] | None = None
        self._lives = self._restarts = 0
        self._keeping = asyncio.create_task(self._keep())  # Ray makes it in a running loop

    async def report(self, after: int = 0, lives: int = 0) -> ReplicaReport:
        """Return the state with the lines `after` a number; the actor was remade `lives` times."""
        if self._keeping.done() and not self._keeping.cancelled():
            self._keeping.result()  # a bug: Ray hands it on
        self._lives = max(self._lives, lives)
        return ReplicaReport(
            self._life,
            self._machine,
            self._address,
            self._missing,
            self._failure,
            self._plan.model.name,
            self._plan.needs.gpus,
            self._lives + self._restarts,
            self._lines.after(after),
        )

    async def status(self) -> ReplicaReport:
        """Return the state without lines."""
        return replace(await self.report(), lines=())

    async def stop(self, after: int) -> ReplicaReport:
        """End the processes in order, what runs included; return the lines `after` a number."""
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        return await self.report(after)

    async def _keep(self) -> None:
        backoff = RestartBackoff()
        while True:
            started = time.monotonic()
            try:
                with private_folder(self._plan.token) as folder:
                    await self._serve(folder)
            except CommandError as exc:
                self._failure, self._missing = (exc.message, exc.remedy), exc.message
            self._restarts += 1
            backoff = backoff.after_exit(time.monotonic() - started)
            await asyncio.sleep(backoff.delay_s)

    async def _serve(self, state_dir: Path) -> None:
        """Keep the processes alive. Raises: CommandError, when one ends before it is ready."""
        plan = self._plan
        port = free_port(self._host, plan.config.worker_port + plan.number)
        config = replace(plan.config, state_dir=state_dir, worker_port=port)
        if config.sglang:
            port = free_port(sglang_server.HOST, config.sglang_port + plan.number)
            config = replace(config, sglang_port=port)
        stages = replica_stages(config, plan.model, self._host, plan.flags)
        worker = stages[-1][0]
        self._address = worker.address
        connector = aiohttp.TCPConnector(ssl=trust(config.ca_file))
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
            readiness = Readiness(session, plan.controller, lambda: bearer(plan.token))

            async def missing(process: Process) -> str | None:
                lacks = await readiness.missing(process)
                self._restarts += self._missing is None and lacks is not None
                if lacks is not None or process is worker:
                    self._missing = lacks
                return lacks

            await Supervisor(missing, self._lines).run(stages, lambda: None)


class LineBuffer:
    """Keeps the last lines of the processes until the launch has them."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._count = 0
        self._lines: deque[tuple[int, str]] = deque(maxlen=_KEPT_LINES)

    def line(self, name: str, text: str) -> None:
        """Take a line; those of the worker need no name in front."""
        self.note(text if name == self._worker else f"{name}: {text}")

    def note(self, text: str) -> None:
        """Take what the supervisor says."""
        self._count += 1
        self._lines.append((self._count, text))

    def after(self, number: int) -> tuple[tuple[int, str], ...]:
        """Return the lines after a number."""
        return tuple(line for line in self._lines if line[0] > number)


@contextmanager
def private_folder(token: str) -> Iterator[Path]:
    """Make a state folder that only this user may enter, with the cluster's token in it."""
    _remove_left_folders()
    with tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-") as name:
        folder = Path(name)
        write_secret(folder / TOKEN_FILE, token)
        yield folder


def _remove_left_folders() -> None:
    """Remove what replicas that were killed have left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        process = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def free_port(host: str, first: int) -> int:
    """Return a port that nobody listens on. Raises: CommandError, when there is none."""
    for port in range(first, 65536, _NEXT_PORT):
        try:
            with serving.bind(host, port):
                return port
        except OSError:
            continue
    raise CommandError(
        f"no port from {first} up, in steps of {_NEXT_PORT}, is free at {host}",
        "Choose others with --worker-port or --sglang-port.",
    )
