"""What a chat does with each line, with the echo engine as the model."""

import asyncio
import io
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Protocol

import pytest

from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import EngineFailure, ServeError
from llava_serve.request import Delta, GenerateRequest
from llava_serve.terminal.chat import Chat


class Talk(Protocol):
    chat: Chat
    out: io.StringIO
    err: io.StringIO


class HalfEngine(EchoEngine):
    """Says half an answer, then fails or waits for ever."""

    def __init__(self, error: ServeError | None) -> None:
        super().__init__("half")
        self.has_said_half = asyncio.Event()
        self._error = error

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        self.running += 1
        try:
            yield Delta("half an")
            self.has_said_half.set()
            if self._error is not None:
                raise self._error
            await asyncio.Event().wait()
        finally:
            self.running -= 1


async def test_an_answer_streams_and_ends_its_line(talk: Talk) -> None:
    assert await talk.chat.take("What is it?\n")
    assert talk.out.getvalue() == "What is it?\n"


async def test_an_image_goes_with_the_next_question_and_stays_in_its_turn(
    talk: Talk, image_file: Path, video_file: Path
) -> None:
    await talk.chat.take(f"/image {image_file}")
    await talk.chat.take("one")
    await talk.chat.take(f"/image {video_file}")
    await talk.chat.take(f"/video {video_file}")
    await talk.chat.take("two")
    assert talk.out.getvalue().splitlines() == [
        "[1 picture: 40x30] one",
        "[2 pictures: 40x30, 20x20] [3 frames: 20x20, 20x20, 20x20] two",
    ]
    assert talk.chat.history.attached == ()


async def test_reset_forgets_the_conversation_but_not_the_system_prompt(
    talk: Talk, image_file: Path
) -> None:
    await talk.chat.take("/system Be brief.")
    await talk.chat.take(f"/image {image_file}")
    await talk.chat.take("one")
    await talk.chat.take("/reset")
    assert [said.role for said in talk.chat.history.messages()] == ["system"]
    await talk.chat.take("/system")
    assert talk.chat.history.messages() == []


async def test_a_saved_conversation_goes_on_after_loading(
    talk: Talk, image_file: Path, tmp_path: Path
) -> None:
    await talk.chat.take(f"/image {image_file}")
    await talk.chat.take("one")
    before = talk.chat.history
    await talk.chat.take(f"/save {tmp_path / 'chat.json'}")
    await talk.chat.take("/reset")
    await talk.chat.take(f"/load {tmp_path / 'chat.json'}")
    assert talk.chat.history == before
    await talk.chat.take("two")
    assert talk.out.getvalue().splitlines()[-1] == "[1 picture: 40x30] two"


async def test_a_command_that_fails_changes_nothing(talk: Talk, image_file: Path) -> None:
    await talk.chat.take(f"/image {image_file}")
    before = talk.chat.history
    for line in ("/image nope.png", "/load nope.json", "/nope", f"/video {image_file}"):
        with pytest.raises(ServeError):
            await talk.chat.take(line)
    assert talk.chat.history == before


async def test_exit_leaves_and_help_lists(talk: Talk) -> None:
    assert await talk.chat.take("/help")
    assert "/image F" in talk.err.getvalue()
    assert not await talk.chat.take("/exit")


async def test_an_empty_line_asks_nothing(talk: Talk) -> None:
    assert await talk.chat.take("  \n")
    assert talk.chat.history.turns == ()


async def test_a_stopped_answer_stops_the_engine_and_stays_as_far_as_it_came(
    make_talk: Callable[[Engine], Talk],
) -> None:
    engine = HalfEngine(None)
    talk = make_talk(engine)
    taking = asyncio.create_task(talk.chat.take("question"))
    await engine.has_said_half.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert engine.running == 0
    assert talk.out.getvalue() == "half an\n"
    assert talk.chat.history.messages()[-1].content == "half an"


async def test_an_answer_that_breaks_off_stays_and_its_error_is_raised(
    make_talk: Callable[[Engine], Talk],
) -> None:
    talk = make_talk(HalfEngine(EngineFailure("the model failed")))
    with pytest.raises(EngineFailure):
        await talk.chat.take("question")
    assert talk.chat.history.messages()[-1].content == "half an"


async def test_a_question_that_is_refused_keeps_its_image_for_the_next(
    talk: Talk, image_file: Path
) -> None:
    await talk.chat.take(f"/image {image_file}")
    with pytest.raises(ServeError, match="context"):
        await talk.chat.take("word " * 5000)
    assert talk.out.getvalue() == ""
    await talk.chat.take("short")
    assert talk.out.getvalue() == "[1 picture: 40x30] short\n"


async def test_an_answer_cut_at_the_limit_says_so(talk: Talk) -> None:
    await talk.chat.take("word " * 600)
    assert "--max-new-tokens" in talk.err.getvalue()


async def test_again_asks_the_last_question_in_place_of_its_broken_answer(
    make_talk: Callable[[Engine], Talk], image_file: Path
) -> None:
    talk = make_talk(HalfEngine(EngineFailure("the model failed")))
    await talk.chat.take(f"/image {image_file}")
    for line in ("question", "/again", "/again"):
        with pytest.raises(EngineFailure):
            await talk.chat.take(line)
    first, second = talk.chat.history.turns
    assert [part.type for part in first.parts()] == ["image_url", "text"]
    assert second.content == "half an"
    assert talk.chat.history.attached == ()


async def test_again_asks_what_was_not_answered_at_all(talk: Talk, image_file: Path) -> None:
    await talk.chat.take("before")
    await talk.chat.take(f"/image {image_file}")
    with pytest.raises(ServeError, match="context"):
        await talk.chat.take("word " * 5000)
    with pytest.raises(ServeError, match="context"):
        await talk.chat.take("/again")
    assert len(talk.chat.history.attached) == 1
    await talk.chat.take("short")
    await talk.chat.take("/again")
    assert talk.out.getvalue().splitlines()[-2:] == ["[1 picture: 40x30] short"] * 2
    assert len(talk.chat.history.turns) == 4


async def test_again_needs_a_question(talk: Talk) -> None:
    with pytest.raises(ServeError, match="nothing was asked yet"):
        await talk.chat.take("/again")
