"""The life of a stack, with small real programs in place of the servers."""

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest
from fastapi import FastAPI, Response
from rich.console import Console

from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.http.tls import Certificate
from llava_serve.launching.console import LaunchConsole
from llava_serve.launching.plan import Port, Process
from llava_serve.launching.supervisor import Readiness, RestartBackoff, Supervisor, describe_end
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.certificates import Certificates

SERVE = "echo $0 started $$; exec sleep 600"


def _port(address: str) -> Port:
    host, _, number = address.removeprefix("http://").partition(":")
    return Port(host, int(number), "the process", "--port")


def _process(name: str, script: str = SERVE) -> Process:
    return Process(name, ("sh", "-c", script, name), _port("http://127.0.0.1:1"))


class _Shown(io.StringIO):
    """A console's file that also wakes those who wait for a text to be shown."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def write(self, text: str) -> int:
        self._changed.set()
        return super().write(text)

    async def until(self, text: str, times: int = 1) -> None:
        while self.getvalue().count(text) < times:
            self._changed.clear()
            await self._changed.wait()

    def pids(self, name: str) -> list[int]:
        lines = [line for line in self.getvalue().splitlines() if f"{name} started" in line]
        return [int(line.split()[-1]) for line in lines]


async def _ready(_: Process) -> str | None:
    return None


@asynccontextmanager
async def _supervised(*stages: list[Process]) -> AsyncIterator[tuple[Supervisor, _Shown]]:
    shown = _Shown()
    names = [process.name for stage in stages for process in stage]
    supervisor = Supervisor(_ready, LaunchConsole(names, Console(file=shown, width=200)))
    up = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stages, up.set))
    try:
        await up.wait()
        yield supervisor, shown
    finally:
        supervisor.stop()
        await running


async def test_a_stack_ends_in_reverse_order_and_leaves_nothing() -> None:
    says_so = "trap 'echo $0 ends; exit' TERM; echo $0 started $$; while :; do sleep 0.05; done"
    stages = [[_process(name, says_so)] for name in ("controller", "worker", "page")]
    async with _supervised(*stages) as (_, shown):
        for name in ("controller", "worker", "page"):
            await shown.until(f"{name} started")
    ends = [line.split()[-2] for line in shown.getvalue().splitlines() if line.endswith(" ends")]
    assert ends == ["page", "worker", "controller"]
    pids = [pid for name in ("controller", "worker", "page") for pid in shown.pids(name)]
    assert len(pids) == 3
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.slow
async def test_a_process_that_is_killed_starts_again_and_the_others_run_on() -> None:
    stages = [[_process("controller")], [_process("a"), _process("b")]]
    async with _supervised(*stages) as (_, shown):
        await shown.until("a started")
        os.kill(shown.pids("a")[0], signal.SIGKILL)
        await shown.until("a started", times=2)
        await shown.until("a is ready again")
    assert "a ended: killed by SIGKILL" in shown.getvalue()
    assert len(shown.pids("a")) == 2
    assert len(shown.pids("b")) == len(shown.pids("controller")) == 1


async def test_a_process_that_ends_before_it_is_ready_ends_the_launch() -> None:
    shown = _Shown()
    processes = [[_process("controller")], [_process("good"), _process("bad", "exit 2")]]
    console = LaunchConsole(["controller", "good", "bad"], Console(file=shown, width=200))

    async def only_bad_is_not_ready(process: Process) -> str | None:
        return "not yet" if process.name == "bad" else None

    supervisor = Supervisor(only_bad_is_not_ready, console)
    with pytest.raises(CommandError, match="bad ended before it was ready: exit code 2"):
        await supervisor.run(processes, lambda: pytest.fail("it is not ready"))
    pids = shown.pids("controller") + shown.pids("good")
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_the_workers_start_only_when_the_controller_is_ready() -> None:
    shown = _Shown()
    console = LaunchConsole(["controller", "worker"], Console(file=shown, width=200))
    asked = asyncio.Event()

    async def never(process: Process) -> str | None:
        asked.set()
        return "nothing answers"

    supervisor = Supervisor(never, console)
    stages = [[_process("controller")], [_process("worker")]]
    running = asyncio.create_task(supervisor.run(stages, lambda: pytest.fail("it is not ready")))
    await asked.wait()
    supervisor.stop()
    await running
    assert shown.pids("worker") == []


async def test_what_is_kept_besides_starts_after_the_controller_and_ends_before_it() -> None:
    shown, events, up = _Shown(), [], asyncio.Event()
    says_so = "trap 'echo $0 ends; exit' TERM; echo $0 started $$; while :; do sleep 0.05; done"

    async def keep(ready: asyncio.Event) -> None:
        await shown.until("controller started")
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            events.append(shown.getvalue().count("controller ends"))

    supervisor = Supervisor(_ready, LaunchConsole(["controller"], Console(file=shown, width=200)))
    stages = [[_process("controller", says_so)]]
    running = asyncio.create_task(supervisor.run(stages, up.set, keep))
    await up.wait()
    supervisor.stop()
    await running
    assert events == [0]
    assert "controller ends" in shown.getvalue()


async def test_what_is_kept_besides_and_fails_ends_the_launch() -> None:
    async def keep(ready: asyncio.Event) -> None:
        raise CommandError("no place", "Add machines.")

    shown = _Shown()
    supervisor = Supervisor(_ready, LaunchConsole(["controller"], Console(file=shown, width=200)))
    with pytest.raises(CommandError, match="no place"):
        await supervisor.run([[_process("controller")]], lambda: pytest.fail("not ready"), keep)
    assert not any(psutil.pid_exists(pid) for pid in shown.pids("controller"))


async def test_asking_twice_kills_what_does_not_end() -> None:
    deaf = "trap 'echo deaf' TERM; echo $0 started $$; while :; do sleep 0.05; done"
    async with _supervised([_process("controller", deaf)]) as (supervisor, shown):
        await shown.until("controller started")
        supervisor.stop()
        await shown.until("deaf")
        supervisor.stop()
    assert not psutil.pid_exists(shown.pids("controller")[0])
    assert "killing what is left" in shown.getvalue()


def test_an_end_is_told_in_words() -> None:
    assert describe_end(3) == "exit code 3"
    assert describe_end(-15) == "killed by SIGTERM"
    assert describe_end(-40) == "killed by signal 40"
    assert "lack of memory" in describe_end(-9)


async def _missing(address: str, model: str | None) -> str | None:
    async with aiohttp.ClientSession() as session:
        process = Process("it", ("true",), _port(address), model)
        return await Readiness(session, address).missing(process)


async def test_a_process_is_ready_when_it_answers_and_its_model_is_listed() -> None:
    engine, media = EchoEngine("echo"), MediaReader(MediaConfig())
    worker = ModelWorker(engine, Gate(1, 1), media, worker_id="this-one")
    async with serving.served(build_app(worker, max_body_bytes=1000)) as address:
        assert await _missing(address, None) is None
        assert await _missing(address, "echo") is None
        assert "does not list" in str(await _missing(address, "other"))


async def test_a_process_that_does_not_answer_lacks_that() -> None:
    assert "nothing answers at http://127.0.0.1:1/health" in str(
        await _missing("http://127.0.0.1:1", None)
    )


async def test_a_process_whose_certificate_is_not_trusted_lacks_that(tmp_path: Path) -> None:
    certificate = Certificate(*Certificates.made(tmp_path).issue("127.0.0.1"))
    async with serving.served(FastAPI(), certificate=certificate) as address:
        port = Port("127.0.0.1", int(address.rpartition(":")[2]), "it", "--port", "https")
        async with aiohttp.ClientSession() as session:
            missing = await Readiness(session, address).missing(Process("it", ("true",), port))
    assert "--ca-file" in str(missing)


async def test_a_process_whose_health_check_fails_is_not_ready() -> None:
    app = FastAPI()

    @app.get("/health")
    async def health() -> Response:
        return Response(status_code=503)

    async with serving.served(app) as address:
        assert "answers 503" in str(await _missing(address, None))


async def test_a_worker_lacks_the_server_that_it_waits_for_and_is_not_asked() -> None:
    asked = []
    app = FastAPI()

    @app.get("/health")
    async def health() -> None:
        asked.append("health")

    async with serving.served(app) as address, aiohttp.ClientSession() as session:
        process = Process("it", ("true",), _port(address), depends_on="http://127.0.0.1:1")
        missing = await Readiness(session, address).missing(process)
    assert "nothing answers at http://127.0.0.1:1/health" in str(missing)
    assert asked == []


def _delays(*uptimes_s: float) -> list[float]:
    backoff = RestartBackoff()
    delays = []
    for uptime_s in uptimes_s:
        backoff = backoff.after_exit(uptime_s)
        delays.append(backoff.delay_s)
    return delays


def test_the_delay_doubles_up_to_thirty_seconds() -> None:
    assert _delays(*[1.0] * 8) == [1, 2, 4, 8, 16, 30, 30, 30]


def test_after_a_minute_of_uptime_the_delay_is_the_first_again() -> None:
    assert _delays(1, 1, 1, 60, 1) == [1, 2, 4, 1, 2]


def test_a_process_that_keeps_ending_for_days_still_gets_a_delay() -> None:
    assert RestartBackoff(1_000_000).delay_s == 30
