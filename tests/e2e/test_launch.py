"""A whole stack of real processes: it starts, heals itself and leaves nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest
import requests

from tests.ports import free_ports

pytestmark = pytest.mark.slow

LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Stack:
    """A launch of two echo models, `a` and `b`, that is ready."""

    process: "subprocess.Popen[str]"
    address: str
    greeting: list[str]
    log: Path

    def children(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def worker(self, model: str) -> psutil.Process:
        return next(child for child in self.children() if model in child.cmdline())

    def ask(self, model: str) -> requests.Response:
        body = {"model": model, "messages": [{"role": "user", "content": f"hello {model}"}]}
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"{self.address}/v1/chat/completions", json=body, timeout=30)


def _command(port: int, state: Path, *more: str) -> list[str]:
    ports = ["--controller-port", str(port), "--worker-port", str(port + 1)]
    command = [sys.executable, "-m", "llava_serve.launch", "--no-web", *ports]
    return [*command, "--state-dir", str(state), *more]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    port = free_ports(3)
    command = _command(port, tmp_path, "--model", "x/a", "x/b", "--", "--engine", "echo")
    log = tmp_path / "log"
    with log.open("w") as err:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
    with process:
        try:
            greeting = greeting_of(process)
            if "llava_serve.cli" not in greeting[-1]:
                pytest.fail(f"the stack did not start:\n{log.read_text()}")
            yield Stack(process, f"http://127.0.0.1:{port}", greeting, log)
        finally:
            process.terminate()


def greeting_of(process: "subprocess.Popen[str]") -> list[str]:
    """Return the greeting, which is shown once all is ready; `llava_serve.cli` is its last line."""
    lines = [""]
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.strip())
        if "llava_serve.cli" in line:
            break
    return lines


def _until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_true():
        if time.monotonic() > deadline:
            pytest.fail(f"not true within {LIMIT_S} s")
        time.sleep(0.1)


def _are_gone(processes: list[psutil.Process]) -> bool:
    """A killed orphan may stay a zombie where process 1 collects none."""
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_what_the_greeting_says_works(stack: Stack) -> None:
    cli = next(line for line in stack.greeting if "llava_serve.cli" in line)
    command = f"printf 'What is this?\\n' | {cli}"
    answered = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (answered.returncode, answered.stderr) == (0, "")
    assert answered.stdout.endswith("What is this?\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl")
def test_the_curl_line_of_the_greeting_works(stack: Stack) -> None:
    curl = next(line for line in stack.greeting if line.startswith("curl"))
    answered = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True)
    assert '"finish_reason":"stop"' in answered.stdout.replace(" ", "")


def test_a_killed_worker_comes_back_while_the_other_answers(stack: Stack) -> None:
    killed = stack.worker("a")
    killed.kill()
    statuses = {"a": [200], "b": [200]}

    def is_back() -> bool:
        for model, seen in statuses.items():
            seen.append(stack.ask(model).status_code)
        return 503 in statuses["a"] and statuses["a"][-1] == 200

    _until(is_back)
    assert set(statuses["b"]) == {200}
    assert stack.worker("a").pid != killed.pid
    assert "a ended: killed by SIGKILL" in stack.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_order(stack: Stack, number: signal.Signals) -> None:
    children = stack.children()
    assert len(children) == 3
    stack.process.send_signal(number)
    assert stack.process.wait(LIMIT_S) == 0
    assert _are_gone(children)
    log = stack.log.read_text()
    assert log.rindex("a          | ") < log.rindex("controller | ")
    assert log.endswith("all processes have ended\n")


def test_nobody_has_to_read_the_log(tmp_path: Path) -> None:
    port = free_ports(2)
    command = _command(port, tmp_path, "--model", "x/a", "--", "--engine", "echo")
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=writing, text=True) as process:
        os.close(writing)
        assert "llava_serve.cli" in greeting_of(process)[-1]
        assert process.stdout is not None
        process.stdout.close()
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(LIMIT_S) == 0
    assert _are_gone(children)


def test_a_killed_launcher_leaves_no_process(stack: Stack) -> None:
    children = stack.children()
    assert len(children) == 3
    stack.process.kill()
    _until(lambda: _are_gone(children))


def test_a_port_in_use_is_one_clear_sentence_before_anything_starts(tmp_path: Path) -> None:
    port = free_ports(3)
    with socket.create_server(("127.0.0.1", port + 1)):
        refused = subprocess.run(
            _command(port, tmp_path, "--model", "x/a", "x/b"),
            capture_output=True,
            text=True,
            check=False,
        )
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.splitlines() == [
        f"port {port + 1}, which the worker of a needs, is in use",
        "Stop the program that uses it, or choose another port with --worker-port.",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_loaded_ends_the_launch(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = subprocess.run(
        _command(free_ports(2), tmp_path, "--model", str(empty)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "empty ended before it was ready" in refused.stderr
    assert "empty      | cannot load" in refused.stderr
