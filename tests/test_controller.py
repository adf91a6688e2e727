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

from llava_serve.controller import main

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
    assert token not in "".join(log)
    assert "WARNING" not in "".join(log) and not re.search(r" W ", "".join(log))
    with controller(unused_tcp_port, tmp_path) as log:
        pass
    assert token not in "".join(log)


def test_a_public_address_that_is_open_is_warned_of_with_what_is_exposed(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    with controller(unused_tcp_port, tmp_path, "--host", "0.0.0.0", "--no-auth") as log:
        answer = requests.get(f"http://127.0.0.1:{unused_tcp_port}/v1/models", timeout=30)
        assert answer.status_code == 200
    (warning,) = [line for line in log if " W " in line]
    assert "can use every model" in warning


def test_a_public_address_asks_for_a_key_that_the_first_start_makes(
    tmp_path: Path, unused_tcp_port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    models = f"http://127.0.0.1:{unused_tcp_port}/v1/models"
    with controller(unused_tcp_port, tmp_path, "--host", "0.0.0.0", "--log-level", "debug") as log:
        assert requests.get(models, timeout=30).status_code == 401
        key = (tmp_path / "api-key").read_text().strip()
        token = (tmp_path / "cluster-token").read_text().strip()
        for headers in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}):
            assert requests.get(models, headers=headers, timeout=30).status_code == 200
        insider = {"Authorization": f"Bearer {token}"}
        assert requests.get(models, headers=insider, timeout=30).status_code == 200
    shown = capfd.readouterr().out
    assert f'curl -H "Authorization: Bearer {key}" {models}' in shown
    assert key not in "".join(log)
    with controller(unused_tcp_port, tmp_path, "--host", "0.0.0.0"):
        assert requests.get(models, headers=insider, timeout=30).status_code == 200
    assert capfd.readouterr().out == ""


def test_a_key_can_be_asked_for_on_loopback_and_the_terminal_knows_it(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}"
    with controller(unused_tcp_port, tmp_path, "--require-keys"):
        assert requests.get(f"{address}/v1/models", timeout=30).status_code == 401
        for folder, reason in ((tmp_path, "no live worker"), (tmp_path / "other", "API key")):
            words = ["-m", "llava_serve.cli", "--controller", address, "--state-dir", str(folder)]
            done = subprocess.run(
                [sys.executable, *words],
                input="hello\n",
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert reason in done.stderr


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
        (["--no-auth", "--require-keys"], "--no-auth and --require-keys exclude each other"),
        (["--limits-storage", "disk"], "--limits-storage takes memory or an address"),
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


def test_an_address_that_is_none_of_a_redis_ends_it_before_a_key_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--host", "0.0.0.0", "--limits-storage", "redis://a:port"]
    with pytest.raises(SystemExit, match=r"--limits-storage: .* redis://host:6379"):
        main([*flags, "--state-dir", str(tmp_path)])
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "accounts.sqlite").exists()
