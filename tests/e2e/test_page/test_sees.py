"""The page, the controller and the checkpoint that ships: the right answer to a real picture."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from llava_serve import tiny
from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, TOKEN, Stack
from tests.ports import free_port

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]


async def test_the_right_answer_about_an_uploaded_image_appears(
    browser: Browser, stack: Stack, tmp_path: Path
) -> None:
    listing = json.loads((tiny.EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    example = next(row for row in listing if row["question"] == "What color is the circle?")
    (tmp_path / "cluster-token").write_text(TOKEN)
    (tmp_path / "cluster-token").chmod(0o600)
    port = str(free_port())
    flags = ["--port", port, "--controller", stack.controller, "--state-dir", str(tmp_path)]
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "llava_serve.model_worker", *flags
    )
    try:
        async with opened(browser, stack.page) as tab:
            await expect(tab.model).not_to_have_value("")
            await tab.ask(example["question"], *(tiny.EXAMPLES / name for name in example["files"]))
            await tab.answered()
            await expect(tab.answers.last.locator(".text")).to_have_text(example["answer"])
            # No rate: so short an answer comes faster than it can be timed.
            facts = re.compile(r"first token \d+\.\d\d s.* · \d+ tokens in · \d+ out")
            await expect(tab.answers.last.locator(".facts")).to_have_text(facts)
    finally:
        worker.terminate()
        await worker.wait()
