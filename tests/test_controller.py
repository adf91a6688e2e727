"""The controller's command: it starts, says what it exposes, and stops when it is told."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

pytestmark = pytest.mark.slow


@contextmanager
def controller(
    port: int, state: Path, *flags: str, stop: signal.Signals = signal.SIGTERM
) -> Iterator[list[str]]:
    """Run the command until the body ends; yield its log up to the line that says it serves."""
    arguments = ["-m", "llava_serve.controller", "--port", str(port), "--state-dir", str(state)]
    with subprocess.Popen(
        [sys.executable, *arguments, *flags], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        log = []
        try:
            for line in process.stderr:
                log.append(line)
                if "startup complete" in line:
                    break
            yield log
        finally:
            process.send_signal(stop)
            log.extend(process.stderr)
            ended = (130,) if stop is signal.SIGINT else (0, -signal.SIGTERM)
            assert process.wait(timeout=30) in ended, log


def test_the_controller_serves_and_stops(tmp_path: Path, unused_tcp_port: int) -> None:
    with controller(unused_tcp_port, tmp_path) as log:
        answer = requests.get(f"http://127.0.0.1:{unused_tcp_port}/health", timeout=30)
        assert answer.json() == {"status": "ok", "workers": 0}
    token = (tmp_path / "cluster-token").read_text().strip()
    assert "".join(log).count(token) == 1
    assert "WARNING" not in "".join(log) and not re.search(r" W ", "".join(log))
    with controller(unused_tcp_port, tmp_path) as log:
        pass
    assert token not in "".join(log)


def test_a_public_address_is_warned_of_with_what_is_exposed(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    with controller(unused_tcp_port, tmp_path, "--host", "0.0.0.0") as log:
        pass
    (warning,) = [line for line in log if " W " in line]
    assert "can use every model" in warning


def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path, unused_tcp_port: int) -> None:
    with controller(unused_tcp_port, tmp_path, stop=signal.SIGINT) as log:
        pass
    assert "Traceback" not in "".join(log)
    assert "Finished server process" in log[-1]


def test_a_port_in_use_is_one_sentence_and_an_exit_code(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    with controller(unused_tcp_port, tmp_path):
        second = subprocess.run(
            [sys.executable, "-m", "llava_serve.controller", "--port", str(unused_tcp_port)],
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{unused_tcp_port}" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--trust-workers-from", "10.0.0.1,worker-7"], "'worker-7' is none"),
        (["--answer-timeout", "0"], "--answer-timeout must be above 0"),
        (["--dispatch-method", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_a_bad_flag_ends_with_a_sentence(flags: list[str], reason: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llava_serve.controller", *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert reason in done.stderr
