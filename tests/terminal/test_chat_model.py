"""From settings to someone who answers: over HTTP, from a real worker with the echo engine."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from rich.console import Console

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import DISPATCH
from llava_serve.cluster.registry.registry import Registry
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import (
    CommandError,
    ControllerUnreachable,
    ModelNotFound,
    RemoteError,
    RemoteMediaRefused,
    ServeError,
)
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.protocol import sse
from llava_serve.protocol.content_part import ImagePart, ImageUrl
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.model_card import ModelList
from llava_serve.protocol.openai import ChatMessage
from llava_serve.request import Usage
from llava_serve.terminal.attachment import initial_history
from llava_serve.terminal.chat_model import open_model
from llava_serve.terminal.config import CliConfig
from llava_serve.terminal.history import History
from llava_serve.terminal.output import Notes
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker


@pytest.fixture
async def address() -> AsyncIterator[str]:
    media = MediaReader(CliConfig())
    worker = ModelWorker(EchoEngine("echo"), Gate(2, 2), media, worker_id="this-one")
    async with serving.served(build_app(worker, max_body_bytes=10_000_000)) as address:
        yield address


async def test_a_model_behind_a_controller_shows_the_place_in_line() -> None:
    app, err = FastAPI(), io.StringIO()

    @app.get("/v1/models")
    async def models() -> ModelList:
        return ModelList(data=[EchoEngine("echo").card])

    @app.post("/v1/chat/completions")
    async def answer() -> Response:
        return Response(LinePlace(3, 4, 8).encode() + sse.encode(sse.DONE))

    notes = Notes(Console(file=err, width=80, force_terminal=True, color_system=None))
    async with (
        serving.served(app) as address,
        MediaReader(CliConfig()) as reader,
        open_model(CliConfig(controller=(address,)), None, reader, notes) as model,
    ):
        asked = [ChatMessage(role="user", content="hi")]
        assert [delta async for delta in model.stream(asked)] == []
    assert "waiting in line: 2 are before you, about 8 s" in err.getvalue()
    assert err.getvalue().endswith("\r\x1b[2K")


async def _answer(
    config: CliConfig, messages: list[ChatMessage], engine: Engine | None = None
) -> tuple[str, str, Usage | None]:
    """Return the model, its text and the usage."""
    notes = Notes(Console(file=io.StringIO()))
    async with MediaReader(config) as reader, open_model(config, engine, reader, notes) as answerer:
        deltas = [delta async for delta in answerer.stream(messages)]
    usage = next((delta.usage for delta in deltas if delta.usage), None)
    return answerer.name, "".join(delta.text for delta in deltas), usage


async def test_a_controllers_answer_has_text_and_usage(address: str, image_file: Path) -> None:
    config = CliConfig(controller=(address,), image_file=(str(image_file),))
    history = await initial_history(config)
    model, text, usage = await _answer(config, history.request_with("What is it?"))
    assert (model, text) == ("echo", "[1 picture: 40x30] What is it?")
    assert usage is not None
    assert (usage.completion_tokens, usage.image_tokens) == (6, 1)


async def test_the_files_and_the_system_prompt_come_from_the_flags(
    image_file: Path, video_file: Path
) -> None:
    config = CliConfig(
        image_file=(str(image_file), str(image_file)),
        video_file=(str(video_file),),
        system="Be brief.",
    )
    history = await initial_history(config)
    assert [part.type for part in history.attached] == ["image_url", "image_url", "video_url"]
    assert history.system == "Be brief."


@pytest.mark.parametrize(
    ("allowed", "reason"), [(False, "does not fetch web addresses"), (True, "public internet")]
)
async def test_a_web_address_in_a_conversation_is_fetched_when_allowed_and_public(
    allowed: bool, reason: str
) -> None:
    image_file = ImagePart(type="image_url", image_url=ImageUrl(url="http://127.0.0.1:1/a.png"))
    asked = History().with_media(image_file).request_with("What is it?")
    with pytest.raises(RemoteMediaRefused, match=reason):
        await _answer(CliConfig(allow_remote_media=allowed), asked, EchoEngine("echo"))


async def test_a_model_that_is_not_served_is_refused_with_those_that_are(address: str) -> None:
    with pytest.raises(ModelNotFound, match="served: echo"):
        await _answer(CliConfig(controller=(address,), model_name="other"), [])


async def test_a_controller_without_workers_is_told_with_what_to_do() -> None:
    app = build_controller(Registry(DISPATCH["shortest_queue"]), AdmissionPolicy("token"))
    async with serving.served(app) as empty:
        with pytest.raises(CommandError, match=f"{empty} has no live worker") as refused:
            await _answer(CliConfig(controller=(empty,)), [])
    assert "otherwise start one" in refused.value.remedy


async def test_a_controller_that_is_not_there_is_told() -> None:
    with pytest.raises(ControllerUnreachable, match=r"127\.0\.0\.1:1"):
        await _answer(CliConfig(controller=("http://127.0.0.1:1",)), [])


async def test_what_the_controller_refuses_keeps_its_remedy(address: str) -> None:
    messages = [ChatMessage(role="user", content="word " * 5000)]
    with pytest.raises(RemoteError, match="context") as refused:
        await _answer(CliConfig(controller=(address,)), messages)
    assert isinstance(refused.value, ServeError)
    assert "Shorten" in refused.value.remedy


@pytest.mark.parametrize(
    "flag",
    [
        {"device": "cpu"},
        {"load_4bit": True},
        {"conv_mode": "plain"},
        {"max_images": 4},
        {"allow_remote_media": True},
    ],
)
def test_what_a_worker_decides_is_refused_beside_a_controller(flag: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no effect with --controller"):
        CliConfig(controller=("http://127.0.0.1:1",), **flag)  # type: ignore[arg-type]
