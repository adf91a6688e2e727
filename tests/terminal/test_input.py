"""Lines from a pipe or a file are asked one by one."""

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from llava_serve.errors import CommandError
from llava_serve.terminal.chat import Chat
from llava_serve.terminal.command import COMMANDS
from llava_serve.terminal.input import CommandCompleter, answer_lines, lines_of
from llava_serve.terminal.output import Notes


class Talk(Protocol):
    chat: Chat
    notes: Notes
    out: io.StringIO
    err: io.StringIO


async def _given(*lines: str) -> AsyncIterator[str]:
    for line in lines:
        yield line


async def test_each_line_is_answered(talk: Talk) -> None:
    assert await answer_lines(talk.chat, talk.notes, _given("one\n", "\n", "two"))
    assert talk.out.getvalue() == "one\ntwo\n"


async def test_a_failed_question_is_told_and_the_next_is_asked(talk: Talk) -> None:
    too_long = "word " * 5000
    assert not await answer_lines(talk.chat, talk.notes, _given(too_long, "two"))
    assert talk.out.getvalue() == "two\n"
    assert "error: the prompt has 5000 tokens" in talk.err.getvalue()


async def test_nothing_is_asked_after_a_command_that_failed(talk: Talk) -> None:
    assert not await answer_lines(talk.chat, talk.notes, _given("/image nope.png", "What is it?"))
    assert talk.out.getvalue() == ""


async def test_exit_ends_the_input(talk: Talk) -> None:
    assert await answer_lines(talk.chat, talk.notes, _given("one", "/exit", "two"))
    assert talk.out.getvalue() == "one\n"


async def test_a_pipe_gives_its_lines_the_last_without_an_end_too() -> None:
    reading, writing = os.pipe()
    os.write(writing, "eins\nzwölf\n\nlast".encode())
    os.close(writing)
    with os.fdopen(reading) as source:
        assert [line async for line in lines_of(source)] == ["eins\n", "zwölf\n", "\n", "last"]


async def test_a_line_without_end_is_refused() -> None:
    reading, writing = os.pipe()

    def flood() -> None:
        with os.fdopen(writing, "wb") as pipe, suppress(BrokenPipeError):
            pipe.write(b"x" * 4_000_000)

    with os.fdopen(reading) as source:
        flooding = asyncio.create_task(asyncio.to_thread(flood))
        with pytest.raises(CommandError, match="longer than 1 MiB"):
            await anext(lines_of(source))
        await flooding


async def _lines_of_file(path: Path) -> list[str]:
    with open(path) as source:  # noqa: ASYNC230, PTH123 - what a shell's < does
        return [line async for line in lines_of(source)]


async def test_a_file_gives_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("one\ntwo")
    assert await _lines_of_file(path) == ["one\n", "two"]


async def test_a_line_without_end_in_a_file_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_bytes(b"x" * 1_100_000)
    with pytest.raises(CommandError, match="longer than 1 MiB"):
        await _lines_of_file(path)


async def test_bytes_that_are_no_text_are_kept_for_names_and_show_as_such_in_questions(
    tmp_path: Path, talk: Talk
) -> None:
    path = tmp_path / "latin-1.txt"
    path.write_bytes("Größe\n".encode("latin-1"))
    (line,) = await _lines_of_file(path)
    assert os.fsencode(line) == path.read_bytes()
    assert await answer_lines(talk.chat, talk.notes, _given(line, "/system " + line, line))
    assert talk.out.getvalue() == "Gr\ufffd\ufffde\n" * 2


@pytest.fixture
def questions(tmp_path: Path, image_file: Path) -> Path:
    """Return a file with a question about a picture whose name is no text."""
    name = os.fsencode(tmp_path) + b"/gr\xfcn.png"
    image_file.rename(os.fsdecode(name))
    lines = tmp_path / "questions.txt"
    lines.write_bytes(b"/image " + name + b"\nWhat is it?\n")
    return lines


async def test_an_image_whose_name_is_no_text_is_found(questions: Path, talk: Talk) -> None:
    assert await answer_lines(talk.chat, talk.notes, _given(*await _lines_of_file(questions)))
    assert "[1 picture" in talk.out.getvalue()


async def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_bytes(b"\xef\xbb\xbf/help\n")
    assert await _lines_of_file(path) == ["/help\n"]


async def test_no_input_at_all_is_no_line() -> None:
    assert await _lines_of_file(Path(os.devnull)) == []


def _completed(text: str) -> list[str]:
    found = CommandCompleter().get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + one.start_position] + one.text for one in found]


def test_commands_complete_from_the_slash() -> None:
    assert _completed("/") == list(COMMANDS)
    assert _completed("/s") == ["/system", "/save"]


def test_files_complete_behind_a_command_that_takes_one(tmp_path: Path) -> None:
    (tmp_path / "circle.png").touch()
    for name in ("/image", "/video", "/save", "/load"):
        assert _completed(f"{name} {tmp_path}/ci") == [f"{name} {tmp_path}/circle.png"]


@pytest.mark.parametrize("text", ["", "What", "/system /", "/reset /", "/again /", " /s"])
def test_nothing_else_completes(text: str) -> None:
    assert _completed(text) == []
