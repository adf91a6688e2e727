"""A real SGLang server as a process of its own, for as long as a test needs it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-sglang" / "bin" / "python"
READY_S = 480
END_S = 30
# The cache is small so that it fits beside others; an idle scheduler sleeps instead of spinning.
FLAGS = [
    *("--device", "cpu", "--attention-backend", "torch_native", "--host", "127.0.0.1"),
    *("--max-total-tokens", "16384", "--max-running-requests", "8", "--sleep-on-idle"),
]

# Threads that share a tiny model's work wait for each other for eight times as long as they work.
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def sglang(model: Path, log: Path, *flags: str, port: int = 0) -> Iterator[str]:
    """Serve `model` until the block ends; yield the address once the server is warm."""
    if not PYTHON.exists():
        pytest.fail("there is no .venv-sglang; run these tests with `make test-sglang`")
    port = port or free_port()
    command = [
        str(PYTHON),
        str(ROOT / "llava_serve" / "launching" / "sglang_cpu.py"),
        *FLAGS,
        *flags,
    ]
    command += ["--port", str(port), "--model-path", str(model)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | ENVIRONMENT,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(process, address, log)
        yield address
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{address}/health", timeout=30).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    pytest.fail("SGLang does not start:\n" + "\n".join(lines[-30:]))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
