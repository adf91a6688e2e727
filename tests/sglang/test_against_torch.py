"""The same checkpoint gives the same greedy answers in SGLang and in the PyTorch engine."""

import base64
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from PIL import Image

from llava_serve.config import MediaConfig, WorkerConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.request import Delta, GenerateRequest, SamplingParams
from llava_serve.tiny import EXAMPLES
from scripts.tiny.world import COLORS, SHAPES, simple_image
from tests.sglang.conftest import Stack, picture, text, user

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

QUESTIONS = ["What shape is it?", "Describe the picture.", "How many shapes are there?"]


@pytest.fixture(scope="module")
def torch_engine() -> Iterator[Engine]:
    engine = build_engine(WorkerConfig(device="cpu"))
    yield engine
    engine.close()


async def deltas_of(engine: Engine, content: list[dict[str, Any]], **sampling: Any) -> list[Delta]:
    chat = parse_chat_request({"model": "llava-tiny", "messages": user(*content)})
    async with MediaReader(MediaConfig()) as media, media.reservation() as reservation:
        prompt = await media.conversation(chat.messages, reservation)
    settings = SamplingParams(temperature=0, max_new_tokens=60, **sampling)
    request = GenerateRequest(request_id="req-1", prompt=prompt, sampling=settings)
    return [delta async for delta in engine.stream(request)]


async def answer_of(engine: Engine, content: list[dict[str, Any]]) -> str:
    return "".join(delta.text for delta in await deltas_of(engine, content))


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
        shown: Image.Image = simple_image(rng.choice(SHAPES), rng.choice([*COLORS]), size=size)
        content = [picture(shown), text(rng.choice(QUESTIONS))]
        assert await stack.ask(*content) == await answer_of(torch_engine, content)


# "I only know simple pictures of shapes and numbers.": an end token, a whole token, parts of some.
@pytest.mark.parametrize("stop", [None, " shapes", "s and nu", " simple pic"])
async def test_the_same_tokens_have_logprobs_wherever_an_answer_ends(
    stack: Stack, torch_engine: Engine, stop: str | None
) -> None:
    asked = [text("Hello, what are you?")]
    answer = await stack.complete(*asked, logprobs=True, top_logprobs=0, stop=stop)
    stops = () if stop is None else (stop,)
    deltas = await deltas_of(torch_engine, asked, stop=stops, top_logprobs=0)
    expected = [one for delta in deltas for one in delta.logprobs]
    told = answer.choices[0].logprobs.content
    assert answer.choices[0].message.content == "".join(delta.text for delta in deltas)
    assert [one.token for one in told] == [one.text for one in expected]
    assert [one.logprob for one in told] == pytest.approx([o.logprob for o in expected], abs=1e-3)
