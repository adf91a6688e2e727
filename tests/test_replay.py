"""Answers are recorded from one server and checked with another, by one command."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi import FastAPI, Request, Response
from safetensors.torch import load_file, save_file

from llava_serve import replay
from llava_serve.config import MediaConfig, ModelConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.replaying.recording import Recording
from llava_serve.tiny import CHECKPOINT
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker

TINY = ModelConfig(model_name="tiny")


@asynccontextmanager
async def served(engine: Engine) -> AsyncIterator[str]:
    worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), "id")
    try:
        async with serving.served(build_app(worker, max_body_bytes=10**6)) as address:
            yield address
    finally:
        await asyncio.to_thread(engine.close)


async def ran(*words: object) -> int:
    return await asyncio.to_thread(replay.main, [str(word) for word in words])


async def recorded(address: str, path: Path, *words: object) -> None:
    assert await ran("record", "--controller", address, "--out", path, *words) == 0


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    async with served(EchoEngine("echo")) as address:
        yield address


async def test_the_same_worker_has_not_moved(
    echo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await recorded(echo, tmp_path / "r")
    assert await ran("check", tmp_path / "r", "--controller", echo, "--tolerance", 0) == 0
    out = capsys.readouterr().out
    assert "11 answers of echo" in out
    assert "no answer moved" in out


async def test_own_requests_are_recorded_and_checked(
    echo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"messages": [{"role": "user", "content": "one two three"}], "max_tokens": 2}
    (tmp_path / "requests").write_text(json.dumps(body))
    await recorded(echo, tmp_path / "r", "--requests", tmp_path / "requests")
    recording = Recording.read(tmp_path / "r")
    answer = recording.requests[0].answer
    answer.text, answer.tokens[1].token = "one six ", "six "
    recording.write(tmp_path / "r")
    capsys.readouterr()
    assert await ran("check", tmp_path / "r", "--controller", echo, "--json") == 1
    (found,) = json.loads(capsys.readouterr().out)["answers"]
    assert (found["before"], found["after"]) == ("one six ", "one two ")
    assert found["first_difference"] == 1
    assert found["max_logprob_difference"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "other"], "'other' is not served at .*; served: echo"),
        (["--api-key-file", "/nowhere"], "/nowhere cannot be used as an API key"),
        (["--controller", "http://127.0.0.1:9"], "no controller answers"),
    ],
)
async def test_a_server_that_cannot_be_asked_ends_with_the_reason(
    words: list[str], said: str, echo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await recorded(echo, tmp_path / "r")
    assert await ran("check", tmp_path / "r", "--controller", echo, *words) == 2
    assert re.search(said, capsys.readouterr().err)


async def test_another_model_of_the_recording_is_not_guessed(
    echo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await recorded(echo, tmp_path / "r")
    async with served(EchoEngine("second")) as other:
        assert await ran("check", tmp_path / "r", "--controller", other) == 2
        assert "'echo' is not served" in capsys.readouterr().err
        assert await ran("check", tmp_path / "r", "--controller", other, "--model", "second") == 0


def ready_server(*, with_logprobs: bool) -> FastAPI:
    """Return a server of OpenAI's wire that knows nothing of ours, and asks for a key."""
    app = FastAPI()

    @app.get("/v1/models")
    async def models(request: Request) -> Any:
        assert request.headers["authorization"] == "Bearer a-key"
        return {"data": [{"id": "theirs"}]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        assert (await request.json())["temperature"] == 0
        token = {"token": "yes", "logprob": -0.1, "bytes": None, "top_logprobs": []}
        choice: dict[str, Any] = {"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}
        if with_logprobs:
            choice["logprobs"] = {"content": [token]}
        chunk = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "theirs",
            "choices": [choice],
        }
        text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        return Response(text, media_type="text/event-stream")

    return app


async def test_a_ready_server_of_openais_wire_is_recorded_and_checked(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-key\n")
    async with serving.served(ready_server(with_logprobs=True)) as address:
        flags = ("--controller", f"{address}/v1", "--api-key-file", tmp_path / "key")
        assert await ran("record", "--out", tmp_path / "r", *flags) == 0
        assert await ran("check", tmp_path / "r", *flags) == 0


async def test_a_server_without_logprobs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("a-key")
    async with serving.served(ready_server(with_logprobs=False)) as address:
        flags = ("--controller", address, "--api-key-file", tmp_path / "key")
        assert await ran("record", "--out", tmp_path / "r", *flags) == 2
    assert "tells no log-probabilities" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("words", [[], ["check"], ["check", "--json"], ["replay", "x"]])
def test_words_that_are_no_command_get_the_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay.main(words) == 2
    assert capsys.readouterr().err.startswith("usage: ")


@pytest.mark.slow
async def test_other_precision_and_other_weights_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r"

    async def check(model: ModelConfig, tolerance: float) -> tuple[int, dict[str, Any]]:
        async with served(await asyncio.to_thread(build_engine, model, slots=1)) as address:
            capsys.readouterr()
            flags = ("--controller", address, "--tolerance", tolerance, "--json")
            code = await ran("check", path, *flags)
            return code, json.loads(capsys.readouterr().out)

    async with served(await asyncio.to_thread(build_engine, TINY, slots=1)) as address:
        await recorded(address, path)
        assert await ran("check", path, "--controller", address, "--tolerance", 1e-3) == 0

    code, report = await check(replace(TINY, dtype="bfloat16"), 1e-6)
    assert code == 1
    assert any(0 < one["mean_kl"] < 1e-3 for one in report["answers"])
    assert (await check(replace(TINY, dtype="bfloat16"), 0.5))[0] == 0

    code, report = await check(perturbed(tmp_path / "other", lambda old: old.flip(0)), 0.05)
    assert code == 1
    assert "number" in report["exceeded"]
    by_name = {one["name"]: one for one in report["answers"]}
    assert by_name["text"]["max_logprob_difference"] < 1e-3


def perturbed(folder: Path, of: Callable[[torch.Tensor], torch.Tensor]) -> ModelConfig:
    """Return the bundled checkpoint with another projector, which no text meets."""
    shutil.copytree(CHECKPOINT, folder)
    weights = load_file(folder / "model.safetensors")
    changed = {name: of(weights[name]) for name in weights if "projector" in name}
    save_file(weights | changed, folder / "model.safetensors", {"format": "pt"})
    return replace(TINY, model_path=str(folder))
