"""A chat completion about a real picture by a worker that is known by LLaVA's wire only."""

import base64
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import DISPATCH
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig, ModelConfig
from llava_serve.engines.build import build_engine
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from scripts.tiny.world import simple_image

pytestmark = pytest.mark.slow

MODEL = "llava-qwen-tiny"  # a name whose template the checkpoint knows


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    engine = build_engine(ModelConfig(model_name=MODEL), slots=2)
    workers = Registry(DISPATCH["shortest_queue"])
    async with AsyncExitStack() as stack:
        stack.callback(engine.close)
        worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id="w")
        app = build_worker(worker, max_body_bytes=10_000_000)
        address = await stack.enter_async_context(serving.served(app))
        status = WorkerStatus(model_names=[MODEL])
        workers.register(address, status, now=0, is_legacy=True, expires=False)
        controller = build_controller(workers, AdmissionPolicy("e2e"))
        served = await stack.enter_async_context(serving.served(controller))
        client = openai.AsyncOpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0)
        yield await stack.enter_async_context(client)


@pytest.mark.parametrize("colour", ["red", "blue"])
async def test_the_answer_follows_the_picture(client: openai.AsyncOpenAI, colour: str) -> None:
    file = io.BytesIO()
    simple_image("circle", colour).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    messages: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": "What color is the circle?"},
            ],
        }
    ]
    whole = await client.chat.completions.create(
        model=MODEL,
        messages=messages,
        temperature=0,
        max_tokens=40,
    )
    answer = whole.choices[0].message.content
    assert answer is not None and colour in answer.lower()
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=messages,
        temperature=0,
        max_tokens=40,
        stream=True,
    )
    deltas = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(deltas) == answer
    assert len(deltas) > 3
