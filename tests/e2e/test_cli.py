"""The terminal program as a user meets it: in a pipe, at a terminal, with and without a model."""

import asyncio
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import anyio
import pytest

from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.request import Delta, GenerateRequest, Usage
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from scripts.tiny.world import simple_image

pytestmark = pytest.mark.slow

CLI = (sys.executable, "-m", "llava_serve.cli")

# What a terminal is told when lines are edited: pasted text is to be marked.
PROMPT_BEGINS = "\x1b[?2004h"
PROMPT_ENDS = "\x1b[?2004l"


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    simple_image("circle", "red").save(path)
    return path


@pytest.fixture
def named(image_file: Path) -> Path:
    """Return a picture whose name few encodings can hold."""
    return image_file.rename(image_file.with_name("größe 日.png"))


@asynccontextmanager
async def _served(engine: EchoEngine) -> AsyncIterator[str]:
    """A worker, which speaks the native wire just as a controller does."""
    worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id="this-one")
    async with serving.served(build_app(worker, max_body_bytes=10_000_000)) as address:
        yield address


@pytest.fixture
async def controller() -> AsyncIterator[str]:
    async with _served(EchoEngine("echo")) as address:
        yield address


async def _run(questions: str, *flags: str | Path) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        [*CLI, *map(str, flags)],
        input=questions,
        capture_output=True,
        text=True,
        check=False,
    )


class Terminal:
    """A program at a pseudo-terminal of its own."""

    def __init__(self, main_end: int) -> None:
        self.shown = ""
        self._main_end = main_end
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(main_end, self._read)

    def type(self, keys: str) -> None:
        os.write(self._main_end, keys.encode())

    async def until(self, text: str) -> None:
        """Wait until `text` is shown, and forget all up to its end."""
        with anyio.fail_after(60):
            while text not in self.shown:
                self._changed.clear()
                await self._changed.wait()
        self.shown = self.shown.partition(text)[2]

    def _read(self) -> None:
        try:
            self.shown += os.read(self._main_end, 65536).decode(errors="replace")
        except OSError:  # how Linux tells that the program has closed its end
            asyncio.get_running_loop().remove_reader(self._main_end)
        self._changed.set()


@asynccontextmanager
async def at_terminal(
    *flags: str, env: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[tuple[Terminal, asyncio.subprocess.Process]]:
    main_end, program_end = pty.openpty()
    # A session leader that opens a terminal gets it as its own, and so its Ctrl-C.
    name = os.ttyname(program_end)
    command = f"exec <{name} >{name} 2>&1; exec {shlex.join([*CLI, *flags])}"
    settings = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **env}
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", command, start_new_session=True, env=os.environ | settings
    )
    terminal = Terminal(main_end)
    try:
        yield terminal, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(main_end)
        os.close(main_end)
        os.close(program_end)  # before the program has it open, reading the other end would fail


async def _until_idle(engine: EchoEngine) -> None:
    """Wait until the worker has noticed; far shorter than the answer that was stopped."""
    with anyio.fail_after(10):
        while engine.running:  # noqa: ASYNC110 - an engine announces nothing
            await asyncio.sleep(0.01)


# How a program is told that its terminal knows less than Unicode; Python would avoid plain C.
ENCODINGS = {
    "cp1252": ({"PYTHONIOENCODING": "cp1252"}, "cp1252", "grün ? ?\n"),
    "latin-1": ({"PYTHONIOENCODING": "latin-1:strict"}, "latin-1", "grün ? ?\n"),
    "ascii": (
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        "ascii",
        "gr?n ? ?\n",
    ),
    "C": ({"LC_ALL": "C"}, "utf-8", "grün 日 😀\n"),
    "UTF-8": ({"PYTHONIOENCODING": "utf-8"}, "utf-8", "grün 日 😀\n"),
}


def _encoded(*flags: str | Path, given: bytes, env: dict[str, str]) -> tuple[int, bytes, str]:
    told = subprocess.run(
        [*CLI, *map(str, flags)],
        input=given,
        capture_output=True,
        check=False,
        env=os.environ | env,
    )
    return told.returncode, told.stdout, told.stderr.decode("ascii", "backslashreplace")


@pytest.mark.parametrize(("env", "encoding", "shown"), ENCODINGS.values(), ids=ENCODINGS)
async def test_what_the_output_cannot_hold_is_replaced(
    controller: str, named: Path, env: dict[str, str], encoding: str, shown: str
) -> None:
    given = f"/system größe\ngrün 日 😀\n/image {named}\n/reset\ngrün 日 😀\n"
    flags = ("--controller", controller, "--image-file", named, "--system", "größe")
    code, out, errors = await asyncio.to_thread(_encoded, *flags, given=given.encode(), env=env)
    assert (code, "Traceback" in errors) == (0, False), errors
    assert out.decode(encoding) == "[1 picture: 336x336] " + shown + shown


async def test_a_question_in_the_terminals_own_encoding_is_understood(controller: str) -> None:
    flags, env = ("--controller", controller), {"PYTHONIOENCODING": "cp1252"}
    given = "grün\n".encode("cp1252")
    code, out, errors = await asyncio.to_thread(_encoded, *flags, given=given, env=env)
    assert (code, out.decode("cp1252"), errors) == (0, "grün\n", "")


class Speaking(EchoEngine):
    """Says the same to everything."""

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        yield Delta("grün 日 😀")
        yield Delta("", "stop", Usage(1, 1))


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
async def test_a_terminal_of_another_encoding_shows_what_it_can(encoding: str) -> None:
    env, *_ = ENCODINGS[encoding]
    async with (
        _served(Speaking("echo")) as controller,
        at_terminal("--controller", controller, env=env) as (terminal, program),
    ):
        await terminal.until(PROMPT_BEGINS)
        terminal.type("hello\r")
        await terminal.until(PROMPT_ENDS)
        await terminal.until("n ? ?")
        await terminal.until(PROMPT_BEGINS)
        terminal.type("/exit\r")
        with anyio.fail_after(30):
            assert await program.wait() == 0


async def test_a_model_in_this_process_answers_about_an_image(image_file: Path) -> None:
    told = await _run(
        "What color is the circle?\n", "--image-file", image_file, "--temperature", "0"
    )
    assert told.returncode == 0, told.stderr
    assert "red" in told.stdout.lower()


async def test_json_has_an_object_for_each_question(image_file: Path) -> None:
    told = await _run(
        "What color is the circle?\nWhat color is the background?\n",
        *("--image-file", image_file, "--temperature", "0", "--max-new-tokens", "24", "--json"),
    )
    assert told.returncode == 0, told.stderr
    first, second = map(json.loads, told.stdout.splitlines())
    assert first["question"] == "What color is the circle?"
    assert first["model"] == second["model"] == "llava-tiny"
    assert first["usage"]["image_tokens"] == second["usage"]["image_tokens"] > 0
    assert second["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"]  # the history


async def test_a_controller_answers_without_a_model_here(controller: str, image_file: Path) -> None:
    told = await _run("one\ntwo\n", "--controller", controller, "--image-file", image_file)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "[1 picture: 336x336] one\n[1 picture: 336x336] two\n"


async def test_a_saved_conversation_goes_on_in_another_process(
    controller: str, image_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "chat.json"
    await _run(f"/image {image_file}\none\n/save {file}\n", "--controller", controller)
    told = await _run(f"/load {file}\ntwo\n", "--controller", controller)
    assert told.stdout == "[1 picture: 336x336] two\n"
    assert "1 question loaded" in told.stderr


async def test_a_missing_image_is_told_with_its_remedy_and_nothing_is_asked() -> None:
    told = await _run("What is it?\n", "--image-file", "nope.png")
    assert (told.returncode, told.stdout) == (2, "")
    assert "error: cannot read nope.png: No such file or directory" in told.stderr
    assert "Give a file's path" in told.stderr
    assert "Traceback" not in told.stderr


async def test_a_failed_question_makes_the_exit_code_1(controller: str) -> None:
    told = await _run("word " * 5000 + "\nshort\n", "--controller", controller)
    assert (told.returncode, told.stdout) == (1, "short\n")
    assert "error: the prompt has 5000 tokens" in told.stderr


async def test_no_controller_makes_the_exit_code_2() -> None:
    told = await _run("What?\n", "--controller", "http://127.0.0.1:1")
    assert (told.returncode, told.stdout) == (2, "")
    assert "no controller answers" in told.stderr


async def test_a_checkpoint_that_is_none_makes_the_exit_code_2(tmp_path: Path) -> None:
    told = await _run("What?\n", "--model-path", tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert "error: " in told.stderr
    assert "Traceback" not in told.stderr


async def test_an_interrupted_pipe_stops_the_engine_and_exits_with_130() -> None:
    engine = EchoEngine("slow", delay_s=0.05)
    async with _served(engine) as address:
        process = await asyncio.create_subprocess_exec(
            *(*CLI, "--controller", address),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"word " * 2000 + b"\n")
        assert await process.stdout.read(4) == b"word"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    assert engine.running == 0


async def test_ctrl_c_stops_the_answer_and_not_the_program() -> None:
    engine = EchoEngine("slow", delay_s=0.2)
    async with (
        _served(engine) as address,
        at_terminal("--controller", address) as (terminal, process),
    ):
        await terminal.until(PROMPT_BEGINS)
        terminal.type("again " * 100 + "\r")
        await terminal.until(PROMPT_ENDS)
        await terminal.until("again again")
        terminal.type("\x03")
        await terminal.until("stopped")
        await _until_idle(engine)
        await terminal.until(PROMPT_BEGINS)
        terminal.type("still here\r")
        await terminal.until(PROMPT_ENDS)
        await terminal.until("still here\r\n")
        await terminal.until(PROMPT_BEGINS)
        terminal.type("\x04")
        assert await process.wait() == 0


async def test_ctrl_c_at_the_prompt_leaves_nothing_but_a_hint(controller: str) -> None:
    async with at_terminal("--controller", controller) as (terminal, process):
        await terminal.until(PROMPT_BEGINS)
        terminal.type("half a question\x03")
        await terminal.until("Ctrl-D or /exit leaves")
        await terminal.until(PROMPT_BEGINS)
        terminal.type("/exit\r")
        assert await process.wait() == 0
