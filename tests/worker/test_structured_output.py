"""Clients that want a structured output get it from the bundled checkpoint, over real sockets."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field

from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.http.serving import served
from llava_serve.worker.app import build_app
from tests.worker.conftest import MAX_BODY_BYTES, MakeWorker
from tests.worker.test_openai_client import image_message

ASKED: dict[str, Any] = {
    "model": "llava-tiny",
    "messages": image_message("Describe the picture."),
    "max_tokens": 300,
}


class Shape(BaseModel):
    """What an instructor-like client asks for."""

    kind: Literal["circle", "square"]
    color: str = Field(max_length=8)
    corners: list[int] | None = Field(max_length=2)


@pytest.fixture(scope="module")
def engine() -> Iterator[TorchEngine]:
    loaded = load(ModelConfig(device="cpu"))
    engine = TorchEngine(loaded, choose_budget(loaded, slots=2))
    yield engine
    engine.close()


@pytest.fixture
async def client(engine: TorchEngine, make_worker: MakeWorker) -> AsyncIterator[openai.AsyncOpenAI]:
    app = build_app(make_worker(engine), max_body_bytes=MAX_BODY_BYTES)
    async with (
        served(app) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


async def test_a_pydantic_model_comes_back_parsed(client: openai.AsyncOpenAI) -> None:
    completion = await client.beta.chat.completions.parse(**ASKED, response_format=Shape)
    (choice,) = completion.choices
    assert choice.finish_reason == "stop"
    assert isinstance(choice.message.parsed, Shape)


async def test_each_of_several_answers_has_the_form(client: openai.AsyncOpenAI) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"enum": ["x", "y", 3]}}}
    fields: dict[str, Any] = {"n": 3, "temperature": 2, "response_format": form}
    completion = await client.chat.completions.create(**ASKED, **fields)
    assert {json.loads(choice.message.content) for choice in completion.choices} <= {"x", "y", 3}


async def test_a_streamed_answer_has_the_form(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        **ASKED, stream=True, extra_body={"guided_choice": ["a red one", "a blue one"]}
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text in ("a red one", "a blue one")


async def test_any_json_object_is_one_or_is_cut(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(
        **ASKED, response_format={"type": "json_object"}
    )
    (choice,) = completion.choices
    assert choice.message.content.startswith("{")
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(choice.message.content), dict)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"extra_body": {"regex": "(("}}, "regex"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "s", "schema": {"type": "array", "uniqueItems": True}},
                }
            },
            "response_format",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_no_form_is_refused_by_name(
    client: openai.AsyncOpenAI, fields: dict[str, Any], param: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(**ASKED, **fields, stream=stream)
    assert refused.value.param == param
