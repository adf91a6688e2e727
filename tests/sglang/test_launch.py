"""`launch --sglang` runs a real SGLang server beside our own worker, heals it and ends it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from llava_serve.serving import bind
from llava_serve.tiny import CHECKPOINT
from llava_serve.tiny.world import simple_picture
from tests.sglang.conftest import picture, text, user
from tests.sglang.launched import PYTHON, READY_S

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

NEEDED_PORTS = 4  # controller, two workers, the server
QUESTIONS = ["What color is the star?", "What shape is it?", "Describe the picture."]


def free_ports() -> int:
    """Return the first of some free ports in a row, below those the system hands out itself."""
    for first in range(20_000 + os.getpid() % 5000, 32_000, NEEDED_PORTS):
        try:
            for port in range(first, first + NEEDED_PORTS):
                bind("127.0.0.1", port).close()
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports")


@contextmanager
def launched(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", openai.OpenAI]]:
    """Launch the checkpoint that ships twice, as `by-torch` and `by-sglang`, until it is ready."""
    port = free_ports()
    command = [sys.executable, "-m", "llava_serve.launch", "--no-web", "--device", "cpu"]
    command += ["--controller-port", str(port), "--worker-port", str(port + 1)]
    command += ["--sglang-port", str(port + 3), "--state-dir", str(folder)]
    command += ["--model", f"{CHECKPOINT}=by-torch", "--sglang", f"{CHECKPOINT}=by-sglang"]
    command += ["--sglang-python", str(PYTHON)]
    log = folder / "log"
    with log.open("w") as err:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
    with process:
        try:
            assert process.stdout is not None
            if not any("llava_serve.cli" in line for line in process.stdout):
                pytest.fail(f"it did not start:\n{log.read_text()[-3000:]}")
            address = f"http://127.0.0.1:{port}/v1"
            yield process, openai.OpenAI(base_url=address, api_key="none", max_retries=0)
        finally:
            process.terminate()


def ask(client: openai.OpenAI, model: str, question: str) -> str:
    shown = picture(simple_picture("star", "green", size=(300, 200)))
    completion = client.chat.completions.create(
        model=model, messages=user(shown, text(question)), temperature=0, max_tokens=60
    )
    return completion.choices[0].message.content or ""


def answers_again(client: openai.OpenAI) -> bool:
    try:
        return bool(ask(client, "by-sglang", QUESTIONS[0]))
    except openai.APIStatusError:
        return False


def until_it_answers(client: openai.OpenAI) -> None:
    deadline = time.monotonic() + READY_S
    while not answers_again(client):
        assert time.monotonic() < deadline, "the server did not come back"
        time.sleep(0.5)


def runs(process: psutil.Process) -> bool:
    """Say whether it does anything: an orphan that has ended stays listed until init reaps it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_it_answers_as_our_own_worker_comes_back_and_leaves_nothing(tmp_path: Path) -> None:
    with launched(tmp_path) as (process, client):
        for question in QUESTIONS:
            assert ask(client, "by-sglang", question) == ask(client, "by-torch", question)
        server = next(
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if "sglang_cpu.py" in " ".join(child.cmdline()) and "foreign" not in child.cmdline()[3]
        )
        server.send_signal(signal.SIGKILL)
        assert ask(client, "by-torch", QUESTIONS[0])
        until_it_answers(client)
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(60) == 0
    assert [child for child in children if runs(child)] == []
