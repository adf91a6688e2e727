"""A task is asked of a real controller by one command, which goes on wherever it was ended."""

import asyncio
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fastapi import Response

from llava_serve import evaluate
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.heartbeat import RegistrationClient, membership
from llava_serve.cluster.registry.dispatch import DISPATCH
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.evaluation.manifest import Manifest
from llava_serve.evaluation.run_folder import RunFolder
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.evaluation.answering import (
    MODEL,
    Answering,
    image_line,
    read_lines,
    refusal,
    text_line,
    text_of,
    write_image,
    write_lines,
    write_texts,
)
from tests.until import bounded

SLOTS = 2


@asynccontextmanager
async def controller() -> AsyncIterator[str]:
    """Yield the address of a controller with one worker of the echo engine."""
    worker = ModelWorker(EchoEngine(), Gate(SLOTS, 64), MediaReader(MediaConfig()), "worker")
    async with AsyncExitStack() as stack:
        app = build_controller(Registry(DISPATCH["shortest_queue"]), AdmissionPolicy("token"))
        address = await stack.enter_async_context(serving.served(app))
        served = serving.served(build_worker(worker, max_body_bytes=10**7))
        own = await stack.enter_async_context(served)
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        card = worker.engine.card
        link = RegistrationClient(session, address, own, "token", partial(worker.status, card))
        await stack.enter_async_context(membership(link))
        async with bounded("a model"):
            while not await _lists_models(session, address):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield address


async def _lists_models(session: aiohttp.ClientSession, address: str) -> bool:
    async with session.get(f"{address}/v1/models") as answer:
        return bool((await answer.json())["data"])


async def ran(data: Path, address: str, *more: object) -> int:
    words = ["--task", "jsonl", "--data", data, "--controller", address, *more]
    return await asyncio.to_thread(evaluate.main, [str(word) for word in words])


def shapes(folder: Path, count: int = 12) -> Path:
    """Write questions about pictures whose size the echo engine tells; one in four is wrong."""
    for number in range(4):
        write_image(folder / f"{number}.png", (60 + number, 50))
    return write_lines(
        folder / "questions.jsonl",
        (
            image_line(
                number,
                f"{number % 4}.png",
                answer=f"[1 picture: {60 + number % 4}x50] q{number}" if number % 4 else "other",
                kind=("even", "odd")[number % 2],
            )
            for number in range(count)
        ),
    )


async def test_a_task_is_asked_of_a_controller_graded_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = shapes(tmp_path), tmp_path / "run"
    async with controller() as address:
        assert await ran(data, address, "--out", out, "--images", "swapped", "gray") == 0
    told = capsys.readouterr()
    assert "jsonl of echo: accuracy 0.7500, 12 of 12 answered" in told.out
    assert "jsonl of echo, swapped images: accuracy 0.0000" in told.out
    assert "jsonl of echo, gray images: accuracy 0.7500" in told.out  # they have the same size
    assert "jsonl: 12 of 12" in told.err
    folder = RunFolder(out)
    manifest = Manifest.model_validate_json(folder.manifest.read_bytes())
    assert (manifest.task, manifest.model, manifest.questions) == ("jsonl", "echo", 12)
    assert set(folder.read_outcomes()) == {"original", "swapped", "gray"}
    assert all(len(read_lines(folder.graded(name))) == 12 for name in folder.read_outcomes())
    assert len(read_lines(folder.llava_answers("echo"))) == 12
    assert json.loads(folder.report_json.read_text())["answered"] == 12
    assert "<html" in folder.report_html.read_text()


async def test_the_same_command_asks_nothing_again(tmp_path: Path) -> None:
    data, answering = write_texts(tmp_path / "q.jsonl", 5), Answering()
    async with answering.served() as address:
        assert await ran(data, address, "--out", tmp_path / "run") == 0
        assert await ran(data, address, "--out", tmp_path / "run") == 0
    assert len(answering.asked) == 5
    command = ("--out", tmp_path / "run", "--model", MODEL)
    assert await ran(data, "http://127.0.0.1:9", *command) == 0  # nobody is needed any more


async def test_controls_stay_in_the_report_once_they_were_asked(tmp_path: Path) -> None:
    data, out = shapes(tmp_path), tmp_path / "run"
    folder = RunFolder(out)
    async with Answering().served() as address:
        assert await ran(data, address, "--out", out, "--images", "gray") == 0
        folder.answers("swapped").write_text("")  # of a run that ended before
        assert await ran(data, address, "--out", out) == 0
    assert set(folder.read_outcomes()) == {"original", "gray"}
    (control,) = json.loads(folder.report_json.read_text())["controls"]
    assert control["images"] == "gray"


async def test_what_cannot_be_served_is_failed_and_not_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [{"role": "user", "content": "word " * 5000}]
    (tmp_path / "no.png").write_text("no picture")
    lines = [
        text_line(0),
        text_line(1, messages=messages),
        image_line(2, "no.png", answer="x"),
        image_line(3, "gone.png", answer="x"),
    ]
    data, out = write_lines(tmp_path / "q.jsonl", lines), tmp_path / "run"
    async with controller() as address:
        assert await ran(data, address, "--out", out) == 1
    told = capsys.readouterr()
    assert "accuracy 1.0000, 1 of 4 answered" in told.out
    assert "failed: 1 of context_length_exceeded" in told.out
    assert "failed: 2 of media_unreadable" in told.out
    assert "1 of 2 files that the questions name are not there" in told.err
    graded = read_lines(RunFolder(out).graded("original"))
    assert [line["credit"] for line in graded] == [1, None, None, None]


async def test_failed_questions_are_asked_again_with_retry_failed(tmp_path: Path) -> None:
    refused = Counter({"q1": 1})

    async def behave(body: dict[str, Any]) -> str | Response:
        if refused[text_of(body)]:
            refused[text_of(body)] -= 1
            return refusal(400, "bad")
        return text_of(body)

    data, answering = write_texts(tmp_path / "q.jsonl", 4), Answering(behave)
    async with answering.served() as address:
        assert await ran(data, address, "--out", tmp_path / "run") == 1
        assert await ran(data, address, "--out", tmp_path / "run") == 1
        assert len(answering.asked) == 4
        assert await ran(data, address, "--out", tmp_path / "run", "--retry-failed") == 0
    assert answering.texts[4:] == ["q1"]


async def test_a_limit_asks_the_first_questions_and_is_part_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, answering = write_texts(tmp_path / "q.jsonl", 9), Answering()
    async with answering.served() as address:
        assert await ran(data, address, "--out", tmp_path / "run", "--limit", 3) == 0
        assert sorted(answering.texts) == ["q0", "q1", "q2"]
        assert await ran(data, address, "--out", tmp_path / "run") == 2
    assert "holds another run: its number of questions is 3, and here 9" in capsys.readouterr().err


async def test_a_second_process_is_refused_while_the_first_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = asyncio.Event()
    begun = asyncio.Event()

    async def behave(body: dict[str, Any]) -> str:
        begun.set()
        await gate.wait()
        return "yes"

    data = write_texts(tmp_path / "q.jsonl", 2)
    async with Answering(behave).served() as address, bounded("both ends"):
        first = asyncio.create_task(ran(data, address, "--out", tmp_path / "run"))
        await begun.wait()
        assert await ran(data, address, "--out", tmp_path / "run") == 2
        gate.set()
        assert await first == 0
    assert "another process is writing the run" in capsys.readouterr().err


async def test_as_many_are_asked_at_once_as_the_slots_need(tmp_path: Path) -> None:
    gate, enough = asyncio.Event(), asyncio.Event()

    async def behave(body: dict[str, Any]) -> str:
        if answering.at_once == 6:
            enough.set()
        await gate.wait()
        return "yes"

    data, answering = write_texts(tmp_path / "q.jsonl", 30), Answering(behave, slots=4)
    async with answering.served() as address, bounded("the end"):
        running = asyncio.create_task(ran(data, address, "--out", tmp_path / "run"))
        await enough.wait()
        gate.set()
        assert await running == 0
    assert answering.most_at_once == 6


async def test_what_a_server_says_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def behave(body: dict[str, Any]) -> Response:
        return refusal(400, "\x1b[2Jcleared\x9b")

    data = write_texts(tmp_path / "q.jsonl", 1)
    async with Answering(behave, models=["\x1b]0;m"]).served() as address:
        assert await ran(data, address, "--out", tmp_path / "run") == 1
        assert await ran(data, address, "--out", tmp_path / "new", "--model", "other") == 2
    told = capsys.readouterr()
    assert "cleared" in told.out
    assert "served: \u241b]0;m" in told.err
    assert not {"\x1b", "\x9b"} & {*told.out, *told.err}


async def test_data_whose_name_is_no_text_is_asked(tmp_path: Path) -> None:
    data = write_texts(tmp_path / os.fsdecode(b"\xff.jsonl"), 1)
    async with Answering().served() as address:
        assert await ran(data, address, "--out", tmp_path / "run") == 0
        assert await ran(data, address, "--out", tmp_path / "run") == 0


async def test_a_result_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    data = write_texts(tmp_path / "q.jsonl", 1)
    async with Answering().served() as address:
        assert await ran(data, address, "--out", tmp_path / "run") == 0
    program = [sys.executable, "-m", "llava_serve.evaluate", "compare", str(tmp_path / "run")]
    with os.fdopen(os.open("/dev/full", os.O_WRONLY), "w") as full:
        left = await asyncio.create_subprocess_exec(
            *program, tmp_path / "run", stdout=full, stderr=asyncio.subprocess.PIPE
        )
        _, told = await left.communicate()
    assert left.returncode == 1
    assert told == b"cannot read or write the result to standard output: No space left on device\n"


async def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path: Path) -> None:
    data = write_texts(tmp_path / "q.jsonl", 1)
    async with Answering().served() as address:
        assert await ran(data, address, "--out", tmp_path / "run") == 0
    program = [sys.executable, "-m", "llava_serve.evaluate", "compare", str(tmp_path / "run")]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as gone:
        left = await asyncio.create_subprocess_exec(
            *program, tmp_path / "run", stdout=gone, stderr=asyncio.subprocess.PIPE
        )
        _, told = await left.communicate()
    assert (left.returncode, told) == (1, b"")


async def test_a_limit_above_all_questions_asks_them_all(tmp_path: Path) -> None:
    data, answering = write_texts(tmp_path / "q.jsonl", 2), Answering()
    async with answering.served() as address:
        assert await ran(data, address, "--out", tmp_path / "run", "--limit", 10**30) == 0
    assert len(answering.asked) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "other"], "'other' is not served at .*; served: tested"),
        (["--task", "vqa"], "there is no task 'vqa'"),
        (["--data", "/nowhere"], "/nowhere is not there"),
        (["--data", "/now\x1b[2Jhere"], r"/now\u241b\[2Jhere is not there"),
        (["--controller", "http://127.0.0.1:9"], "no controller answers"),
        (["--images", "swapped"], "the task has no pictures"),
        (["--api-key-file", "/nowhere"], "cannot be used as an API key"),
    ],
)
async def test_what_is_wrong_at_the_beginning_ends_with_the_reason(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_texts(tmp_path / "q.jsonl", 2)
    async with Answering().served() as address:
        assert await ran(data, address, "--out", tmp_path / "run", *words) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error


@pytest.mark.parametrize(
    "words",
    [["--images", "blue"], ["--concurrency", "0"], ["--limit", "0"], ["--patience", "nan"]],
)
def test_a_flag_that_is_wrong_exits_with_the_usage(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        evaluate.main(["--task", "jsonl", "--data", str(tmp_path), *words])
    assert left.value.code == 2
    assert words[0] in capsys.readouterr().err


async def test_the_folder_is_named_after_task_and_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_texts(tmp_path / "q.jsonl", 1)
    async with Answering(models=["org/m"]).served() as address:
        assert await ran(data, address) == 0
    assert (tmp_path / ".runs/evaluate/jsonl-q-org-m/outcomes.json").exists()
    assert "report: .runs/evaluate/jsonl-q-org-m/report.html" in capsys.readouterr().out


async def test_two_runs_are_compared(tmp_path: Path) -> None:
    data = write_texts(tmp_path / "q.jsonl", 4)

    async def behave(body: dict[str, Any]) -> str:
        return "other" if text_of(body) == "q2" else text_of(body)

    a, b = tmp_path / "a", tmp_path / "b"
    async with Answering().served() as one, Answering(behave).served() as other:
        assert await ran(data, one, "--out", a) == await ran(data, other, "--out", b) == 0
    assert await asyncio.to_thread(evaluate.main, ["compare", str(a), str(b)]) == 0
    assert (b / "compare.html").exists()


@pytest.mark.parametrize("words", [["compare"], ["compare", "a"], ["compare", "--open", "b"]])
def test_two_runs_must_be_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(words) == 2
    assert capsys.readouterr().err.startswith("usage: python -m llava_serve.evaluate compare A B")


async def test_the_report_is_opened_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    data = write_texts(tmp_path / "q.jsonl", 1)
    async with Answering().served() as address:
        assert await ran(data, address, "--out", tmp_path / "run", "--open") == 0
    assert opened == [(tmp_path / "run" / "report.html").as_uri()]
