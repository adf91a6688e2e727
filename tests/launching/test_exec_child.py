"""A program that is not ours ends as it is told to, and its end is passed on."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

COMMAND = [sys.executable, "-m", "llava_serve.launching.exec_child"]
WAITING = "trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def waiting() -> Iterator["subprocess.Popen[str]"]:
    command = [*COMMAND, "sh", "-c", WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def test_a_signal_reaches_the_program_and_its_exit_code_comes_back(
    waiting: "subprocess.Popen[str]",
) -> None:
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(20) == 7
    assert waiting.stdout is not None
    assert waiting.stdout.read() == "told\n"


def test_a_program_that_a_signal_killed_is_told_as_by_a_shell() -> None:
    done = subprocess.run([*COMMAND, "sh", "-c", "kill -KILL $$"], check=False)
    assert done.returncode == 137


def test_the_program_does_not_read_the_launchers_end() -> None:
    done = subprocess.run(
        [*COMMAND, "cat"], input="the launcher's end", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
