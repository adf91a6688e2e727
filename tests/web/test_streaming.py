"""How the answers of a question stop."""

import asyncio

from llava_serve.errors import AnswerInterrupted
from llava_serve.web.reply import StreamedReply
from llava_serve.web.streaming import streaming


async def test_a_second_stop_does_not_break_off_what_the_first_closes() -> None:
    closing, may_close, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closing.set()
            await may_close.wait()
            closed.set()

    reply = StreamedReply("echo")
    async with streaming(work(), [reply]) as running:
        await asyncio.sleep(0)  # until the work has begun
        running.stop()
        await closing.wait()
        running.stop(AnswerInterrupted())
        may_close.set()
    assert closed.is_set()
    assert (reply.state, reply.error) == ("stopped", None)
