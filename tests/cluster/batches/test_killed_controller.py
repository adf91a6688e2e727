"""A controller process is killed twice in the middle of a batch: no line is lost, none is twice."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.cluster.batches.conftest import Client, line
from tests.cluster.files.test_routes import SIZE, URL
from tests.e2e.test_losses import Stack
from tests.until import bounded

pytestmark = pytest.mark.slow

LINES = 60
WORD_S = 0.02


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with AsyncExitStack() as alive:
        session = await alive.enter_async_context(aiohttp.ClientSession())
        yield Stack(tmp_path, session, alive)


async def done(client: Client, batch_id: str, least: int) -> None:
    async with bounded(f"{least} lines that are done"):
        while True:
            counts = (await client.openai.batches.retrieve(batch_id)).request_counts
            if counts is not None and counts.completed >= least:
                return


async def test_a_batch_of_picture_questions_outlives_its_controller(stack: Stack) -> None:
    controller = await stack.start_controller()
    await stack.start_worker(WORD_S)
    await stack.joined(1)
    part: Any = {"type": "image_url", "image_url": {"url": URL}}
    asked = [
        line(number, messages=[{"role": "user", "content": [part, said(f"what is {number}")]}])
        for number in range(LINES)
    ]
    async with openai.AsyncOpenAI(
        base_url=f"{stack.address}/v1", api_key="none", max_retries=9
    ) as opened:
        client = Client(opened)
        begun = await client.begin(asked)
        for least in (LINES // 4, LINES // 2):
            await done(client, begun.id, least)
            controller.send_signal(signal.SIGKILL)
            await controller.wait()
            controller = await stack.start_controller()
            await stack.joined(1)
        batch = await client.reached(begun.id, "completed")
        found = await client.results(batch.output_file_id)
    assert batch.error_file_id is None
    assert {each["custom_id"] for each in found} == {f"q-{number}" for number in range(LINES)}
    assert len(found) == LINES
    assert all(f"[1 picture: {SIZE}] what is" in json.dumps(each["response"]) for each in found)


def said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
