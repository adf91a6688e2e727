"""A prompt is preprocessed once for all its answers, and whoever leaves waits for its thread."""

import asyncio
import threading

import pytest

from llava_serve.engines.preprocessing import PreprocessingPool
from llava_serve.request import Conversation, ReadyPrompt

PROMPT = ReadyPrompt("hi")


class Worked:
    """Counts how often it was done; waits until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.prompts: list[Conversation | ReadyPrompt] = []
        self.stopped: threading.Event

    def __call__(self, prompt: Conversation | ReadyPrompt, stopped: threading.Event) -> int:
        self.stopped = stopped
        self.begun.set()
        self.may_end.wait(30)
        self.prompts.append(prompt)
        if prompt == ReadyPrompt("bad"):
            raise IndexError("a bug")
        return len(self.prompts)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_several_answers_to_one_prompt_share_the_work_and_a_later_one_does_not() -> None:
    worked = Worked()
    pool = PreprocessingPool(worked)
    worked.may_end.set()
    assert await asyncio.gather(*(pool.run(PROMPT) for _ in range(3))) == [1, 1, 1]
    assert await pool.run(PROMPT) == 2


async def test_prompts_that_are_alike_are_two() -> None:
    worked = Worked()
    worked.may_end.set()
    pool = PreprocessingPool(worked)
    await asyncio.gather(pool.run(ReadyPrompt("hi")), pool.run(ReadyPrompt("hi")))
    assert len(worked.prompts) == 2


async def test_what_the_work_raises_reaches_everybody() -> None:
    worked = Worked()
    worked.may_end.set()
    pool, bad = PreprocessingPool(worked), ReadyPrompt("bad")
    failures = await asyncio.gather(pool.run(bad), pool.run(bad), return_exceptions=True)
    assert [type(failure) for failure in failures] == [IndexError, IndexError]


@pytest.mark.parametrize("times", [1, 3])
async def test_whoever_leaves_stays_until_the_thread_is_free(times: int) -> None:
    worked = Worked()
    pool = PreprocessingPool(worked)
    leaving, staying = (asyncio.create_task(pool.run(PROMPT)) for _ in range(2))
    await asyncio.to_thread(worked.begun.wait, 30)
    for _ in range(times):
        leaving.cancel()
        await turns()
    assert not leaving.done()
    assert not worked.stopped.is_set()
    worked.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await staying == 1


async def test_the_work_is_told_when_the_last_one_has_left() -> None:
    worked = Worked()
    pool = PreprocessingPool(worked)
    asking = [asyncio.create_task(pool.run(PROMPT)) for _ in range(2)]
    await asyncio.to_thread(worked.begun.wait, 30)
    for task in asking:
        assert not worked.stopped.is_set()
        task.cancel()
        await turns()
    assert worked.stopped.is_set()
    worked.may_end.set()
    await asyncio.gather(*asking, return_exceptions=True)
