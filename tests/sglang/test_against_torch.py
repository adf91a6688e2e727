"""The same checkpoint gives the same greedy answers in SGLang and in the PyTorch engine."""

import base64
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from PIL import Image

from llava_serve.config import MediaConfig, WorkerConfig
from llava_serve.engines.base import Engine, GenerateRequest, Sampling
from llava_serve.engines.build import build_engine
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.tiny import EXAMPLES
from llava_serve.tiny.world import COLORS, SHAPES, simple_picture
from tests.sglang.conftest import Stack, picture, text, user

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

QUESTIONS = ["What shape is it?", "Describe the picture.", "How many shapes are there?"]


@pytest.fixture(scope="module")
def torch_engine() -> Iterator[Engine]:
    engine = build_engine(WorkerConfig(device="cpu"))
    yield engine
    engine.close()


async def answer_of(engine: Engine, content: list[dict[str, Any]]) -> str:
    chat = parse_chat_request({"model": "llava-tiny", "messages": user(*content)})
    async with MediaReader(MediaConfig()) as media:
        prompt = await media.conversation(chat.messages)
    sampling = Sampling(temperature=0, max_new_tokens=60)
    request = GenerateRequest(request_id="req-1", prompt=prompt, sampling=sampling)
    return "".join([delta.text async for delta in engine.stream(request)])


def from_file(name: str) -> dict[str, Any]:
    content = base64.b64encode((EXAMPLES / name).read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{content}"}}


async def test_the_examples_that_ship_are_answered_alike(
    stack: Stack, torch_engine: Engine
) -> None:
    rows = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    # SGLang tiles each of several pictures, which the reference does not: see the README.
    of_one_picture = [row for row in rows if [name[-4:] for name in row["files"]] == [".png"]]
    for row in of_one_picture:
        content = [*map(from_file, row["files"]), text(row["question"])]
        answer = await stack.ask(*content)
        assert answer == await answer_of(torch_engine, content) == row["answer"]


async def test_fresh_pictures_of_many_sizes_are_answered_alike(
    stack: Stack, torch_engine: Engine
) -> None:
    rng = Random(5)
    for _ in range(12):
        size = (rng.randint(60, 700), rng.randint(60, 700))
        shown: Image.Image = simple_picture(rng.choice(SHAPES), rng.choice([*COLORS]), size=size)
        content = [picture(shown), text(rng.choice(QUESTIONS))]
        assert await stack.ask(*content) == await answer_of(torch_engine, content)
