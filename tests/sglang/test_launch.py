"""`launch --sglang` runs a real SGLang server beside our own worker, heals it and ends it.

Both hold the same checkpoint, so that a comparison in the page must show the same answer twice.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest
from playwright.async_api import expect

from llava_serve.tiny import CHECKPOINT
from scripts.tiny.world import simple_image
from tests.chromium import chromium, opened
from tests.ports import free_ports
from tests.sglang.conftest import picture, text, user
from tests.sglang.launched import ENVIRONMENT, PYTHON, READY_S

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

NEEDED_PORTS = 5  # controller, two workers, the server, the page
QUESTIONS = ["What color is the star?", "What shape is it?", "Describe the picture."]
STAR = simple_image("star", "green", size=(300, 200))


@dataclass(frozen=True, slots=True)
class Launched:
    process: "subprocess.Popen[str]"
    client: openai.OpenAI
    page: str


@contextmanager
def launched(folder: Path) -> Iterator[Launched]:
    """Launch the checkpoint that ships twice, as `by-torch` and `by-sglang`, until it is ready."""
    port = free_ports(NEEDED_PORTS)
    command = [sys.executable, "-m", "llava_serve.launch", "--device", "cpu"]
    command += ["--controller-port", str(port), "--worker-port", str(port + 1)]
    command += ["--sglang-port", str(port + 3), "--web-port", str(port + 4)]
    command += ["--state-dir", str(folder)]
    command += ["--model", f"{CHECKPOINT}=by-torch", "--sglang", f"{CHECKPOINT}=by-sglang"]
    command += ["--sglang-python", str(PYTHON)]
    log = folder / "log"
    with log.open("w") as err:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=err, text=True, env=os.environ | ENVIRONMENT
        )
    with process:
        try:
            assert process.stdout is not None
            if not any("llava_serve.cli" in line for line in process.stdout):
                pytest.fail(f"it did not start:\n{log.read_text()[-3000:]}")
            address = f"http://127.0.0.1:{port}/v1"
            client = openai.OpenAI(base_url=address, api_key="none", max_retries=0)
            yield Launched(process, client, f"http://127.0.0.1:{port + 4}")
        finally:
            process.terminate()


def ask(client: openai.OpenAI, model: str, question: str) -> str:
    completion = client.chat.completions.create(
        model=model, messages=user(picture(STAR), text(question)), temperature=0, max_tokens=60
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


async def compare(page: str, question: str, file: Path) -> list[str]:
    """Ask both in the Compare tab, greedily; return what stands in the two columns."""
    async with chromium() as browser, opened(browser, page) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.page.locator(".parameters:visible button").first.click()
        await (
            tab.page.get_by_label("number input for Temperature").locator("visible=true").fill("0")
        )
        await tab.ask(question, file)
        await tab.answered(2)
        models = await tab.answers.locator(".model").all_inner_texts()
        assert ["by-sglang" in models[0], "by-torch" in models[1]] == [True, True]
        return await tab.answers.locator(".text").all_inner_texts()


async def test_it_answers_as_our_own_worker_comes_back_and_leaves_nothing(tmp_path: Path) -> None:
    STAR.save(tmp_path / "star.png")
    with launched(tmp_path) as stack:
        for question in QUESTIONS:
            answers = [ask(stack.client, model, question) for model in ("by-sglang", "by-torch")]
            assert answers[0] == answers[1]
            assert await compare(stack.page, question, tmp_path / "star.png") == answers
        server = next(
            child
            for child in psutil.Process(stack.process.pid).children(recursive=True)
            if "sglang_cpu.py" in " ".join(child.cmdline())
            and "exec_child" not in child.cmdline()[3]
        )
        server.send_signal(signal.SIGKILL)
        assert ask(stack.client, "by-torch", QUESTIONS[0])
        until_it_answers(stack.client)
        children = psutil.Process(stack.process.pid).children(recursive=True)
        stack.process.terminate()
        assert stack.process.wait(60) == 0
    assert [child for child in children if runs(child)] == []
