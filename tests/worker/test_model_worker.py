"""The model worker's command, as a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from llava_serve import model_worker
from tests.ports import free_port


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "llava_serve.model_worker", *flags]


@pytest.mark.slow
def test_a_folder_without_a_checkpoint_is_one_message_and_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--model-path", str(tmp_path), "--no-register"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_flag_is_one_message_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        model_worker.main(["--num-frames", "99"])
    assert stop.value.code == 2
    assert "--num-frames must not exceed --max-frames" in capsys.readouterr().err


@pytest.mark.slow
def test_it_serves_until_sigterm_and_says_what_it_exposes() -> None:
    port = free_port()
    flags = ("--engine", "echo", "--no-register", "--host", "0.0.0.0", "--no-auth")
    started_as = command(*flags, "--port", str(port))
    with subprocess.Popen(started_as, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        started = ""
        try:
            for line in process.stderr:
                started += line
                if "startup complete" in line:
                    break
            answer = health(port)
        finally:
            process.terminate()
        process.communicate(timeout=20)
    assert answer == {"status": "ok"}
    assert re.search(r"--host 0\.0\.0\.0: whoever reaches port \d+ can use", started)


def health(port: int) -> object:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"http://127.0.0.1:{port}/health", timeout=10).json()
