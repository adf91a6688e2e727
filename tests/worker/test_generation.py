"""An answer in the making: what becomes of it when its reader does not keep up."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from llava_serve.errors import ReaderTooSlow
from llava_serve.request import ReadyPrompt, SamplingParams
from llava_serve.worker import generation
from tests.worker.conftest import MakeWorker, ScriptedEngine


async def never_leaves() -> Message:
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}


async def read_prompt(_: Any) -> ReadyPrompt:
    return ReadyPrompt("hi")


async def test_an_answer_that_nobody_reads_is_cut_before_it_fills_the_memory(
    make_worker: MakeWorker, scripted: type[ScriptedEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "MAX_UNREAD_DELTAS", 50)
    worker = make_worker(scripted(*["word "] * 1000))
    async with worker.media:
        one = generation.Generation(worker, read_prompt, SamplingParams())
        async with one.running(never_leaves):
            for _ in range(500):  # nobody reads meanwhile
                await asyncio.sleep(0)
            with pytest.raises(ReaderTooSlow):
                async for _ in one.read():
                    pass
