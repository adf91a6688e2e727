"""Pixels and threads are shared by all requests of a process: who has no room waits."""

import asyncio
import base64
import math
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from PIL import Image

from llava_serve.config import MediaConfig
from llava_serve.errors import MediaTooLarge
from llava_serve.media.limits import Clock, DecoderPool
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.openai import ChatMessage
from llava_serve.quota import Quota
from llava_serve.request import Conversation
from tests.media.drawn import encoded
from tests.media.filmed import video_file

CONFIG = MediaConfig(max_image_megapixels=1, max_megapixels_in_flight=2)


def asking(*media: tuple[str, bytes]) -> list[ChatMessage]:
    parts = []
    for kind, data in media:
        url = "data:;base64," + base64.b64encode(data).decode()
        parts.append({"type": f"{kind}_url", f"{kind}_url": {"url": url}})
    return [ChatMessage.model_validate({"role": "user", "content": parts})]


def large(kind: str) -> tuple[str, bytes]:
    return "image", encoded(Image.new("RGB", (5000, 4000)), kind)


def megapixel(kind: str = "PNG") -> tuple[str, bytes]:
    return "image", encoded(Image.new("RGB", (1000, 1000)), kind)


@asynccontextmanager
async def reading(
    reader: MediaReader, *media: tuple[str, bytes]
) -> AsyncIterator["asyncio.Task[Conversation]"]:
    """A request that goes on, with its media, until the body ends."""
    async with reader.reservation() as reservation:
        task = asyncio.create_task(reader.conversation(asking(*media), reservation))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def waits(quota: Quota, number: int = 1) -> None:
    while True:
        if quota.waiting == number:
            return
        await asyncio.sleep(0)


@pytest.fixture
async def reader() -> AsyncIterator[MediaReader]:
    async with MediaReader(CONFIG) as reader:
        yield reader


async def test_a_request_without_room_waits_until_another_has_ended(reader: MediaReader) -> None:
    first = AsyncExitStack()
    await (await first.enter_async_context(reading(reader, megapixel(), megapixel())))
    assert reader.pixels.held == 2_000_000
    async with reading(reader, megapixel()) as second:
        await waits(reader.pixels)
        assert not second.done()
        await first.aclose()
        assert len((await second).messages[0].images) == 1
        assert reader.pixels.held == 1_000_000
    assert reader.pixels.held == 0


async def test_who_came_first_is_read_first_though_a_smaller_one_would_fit(
    reader: MediaReader,
) -> None:
    small = ("image", encoded(Image.new("RGB", (10, 10))))
    async with reading(reader, megapixel()) as running:
        await running
        async with reading(reader, megapixel(), megapixel()) as large:
            await waits(reader.pixels)
            async with reading(reader, small) as later:
                await waits(reader.pixels, 2)
                assert not large.done()
                assert not later.done()


async def test_who_leaves_while_waiting_makes_room_for_the_next(reader: MediaReader) -> None:
    async with reading(reader, megapixel()) as running:
        await running
        async with reading(reader, megapixel(), megapixel()) as large:
            await waits(reader.pixels)
            async with reading(reader, megapixel()) as next_one:
                await waits(reader.pixels, 2)
                large.cancel()
                await next_one
                assert reader.pixels.held == 2_000_000
    assert (reader.pixels.held, reader.pixels.waiting) == (0, 0)


async def test_text_waits_for_no_room(reader: MediaReader) -> None:
    async with reading(reader, megapixel(), megapixel()) as running:
        await running
        async with reading(reader, megapixel()), reading(reader) as text:
            assert (await text).messages[0].parts == ()


async def test_a_request_larger_than_all_there_is_runs_alone(reader: MediaReader) -> None:
    running = AsyncExitStack()
    await (await running.enter_async_context(reading(reader, megapixel())))
    async with reading(reader, megapixel("WEBP")) as large:  # its decoder holds three copies
        await waits(reader.pixels)
        await running.aclose()
        await large
        assert reader.pixels.held == 1_000_000


async def test_what_a_request_may_have_in_all_is_told_with_the_flag(reader: MediaReader) -> None:
    three = [megapixel()] * 3
    async with reading(reader, *three) as refused:
        with pytest.raises(MediaTooLarge, match=r"picture 3 .*--max-megapixels-in-flight"):
            await refused
    assert reader.pixels.held == 0


async def test_the_frames_of_a_video_are_counted() -> None:
    config = replace(CONFIG, num_frames=10)
    async with MediaReader(config) as reader:
        async with reading(reader, ("video", video_file(size=(320, 160)))) as running:
            (message,) = (await running).messages
            assert len(message.videos[0].frames) == 10
            assert reader.pixels.held == 10 * 320 * 160
        assert reader.pixels.held == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_large_media_leave_room_for_ordinary_ones(kind: str) -> None:
    config = replace(CONFIG, max_image_megapixels=20, max_megapixels_in_flight=60)
    async with MediaReader(config) as reader, AsyncExitStack() as held:
        for _ in range(2):
            await (await held.enter_async_context(reading(reader, large(kind))))
        third = await held.enter_async_context(reading(reader, large(kind)))
        await waits(reader.pixels.large)
        async with reading(reader, megapixel()) as ordinary:
            assert len((await ordinary).messages[0].images) == 1
        assert not third.done()
    assert (reader.pixels.held, reader.pixels.large.held, reader.pixels.large.waiting) == (0, 0, 0)


async def test_the_result_and_the_error_of_the_work_come_back() -> None:
    pool = DecoderPool()
    assert await pool.run(lambda clock: clock() < math.inf)
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda _: 1 // 0)
    await pool.close()


async def test_who_leaves_waits_for_his_thread_whose_clock_runs_out() -> None:
    pool, begun, ended = DecoderPool(), threading.Event(), threading.Event()

    def work(clock: Clock) -> None:
        begun.set()
        while clock() < math.inf:
            pass
        ended.set()

    task = asyncio.create_task(pool.run(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    await pool.close()


async def test_work_that_has_not_begun_is_not_done_for_who_has_left() -> None:
    pool, go = DecoderPool(), threading.Event()
    busy = [asyncio.create_task(pool.run(lambda _: go.wait())) for _ in range(8)]
    done: list[bool] = []
    task = asyncio.create_task(pool.run(lambda _: done.append(True)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await asyncio.gather(*busy)
    assert not done
    await pool.close()


async def test_ordinary_media_do_not_wait_for_slow_ones() -> None:
    pool, go = DecoderPool(), threading.Event()
    busy = [asyncio.create_task(pool.run(lambda _: go.wait(), is_slow=True)) for _ in range(8)]
    await asyncio.sleep(0)
    assert await pool.run(lambda _: "decoded") == "decoded"
    go.set()
    assert all(await asyncio.gather(*busy))
    await pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
async def test_slow_media_are_decoded_at_a_lower_priority() -> None:
    def niceness(_: Clock) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    pool = DecoderPool()
    ordinary, slow = await pool.run(niceness), await pool.run(niceness, is_slow=True)
    assert ordinary == os.getpriority(os.PRIO_PROCESS, 0)
    assert slow == min(19, ordinary + 10)
    await pool.close()
