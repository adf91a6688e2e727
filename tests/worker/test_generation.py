"""An answer in the making: what becomes of it when its reader does not keep up."""

import asyncio
import weakref
from typing import Any

import PIL.Image
import pytest
from starlette.types import Message

from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import ReaderTooSlow
from llava_serve.request import Image, ReadyPrompt, SamplingParams
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


async def test_images_go_when_the_engine_is_done_with_them_though_the_answer_is_unread(
    make_worker: MakeWorker,
) -> None:
    decoded: list[weakref.ref[Any]] = []

    async def read_image(_: Any) -> ReadyPrompt:
        pixels = PIL.Image.new("RGB", (8, 8))
        decoded.append(weakref.ref(pixels))
        return ReadyPrompt("<image>", (Image(pixels, "sha"),))

    worker = make_worker(EchoEngine("echo"))
    async with worker.media:
        one = generation.Generation(worker, read_image, SamplingParams())
        async with one.running(never_leaves):
            await asyncio.wait([one._task])
            assert decoded[0]() is None
