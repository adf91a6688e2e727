"""A real picture is uploaded with the official client, and the checkpoint that ships sees it."""

import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import openai
import pytest

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app as build_controller
from llava_serve.cluster.files.file_store import FileStore, FileStoreLimits
from llava_serve.cluster.registry.dispatch import DISPATCH
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig, ModelConfig
from llava_serve.engines.build import build_engine
from llava_serve.http import serving
from llava_serve.media.limits import FileLimits
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from scripts.tiny.world import simple_image

pytestmark = pytest.mark.slow


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[openai.AsyncOpenAI]:
    engine = build_engine(ModelConfig(), slots=2)
    workers = Registry(DISPATCH["shortest_queue"])
    limits = FileStoreLimits(
        owner_bytes=10**7, total_bytes=10**8, expiry_s=3600, file=FileLimits(10**7, 10**8)
    )
    async with AsyncExitStack() as stack:
        stack.callback(engine.close)
        worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id="w")
        app = build_worker(worker, max_body_bytes=10_000_000)
        address = await stack.enter_async_context(serving.served(app))
        workers.register(address, worker.status(engine.card), now=0, expires=False)
        settings = ControllerSettings(files=FileStore(tmp_path / "files", limits))
        controller = build_controller(workers, AdmissionPolicy("e2e"), settings)
        served = await stack.enter_async_context(serving.served(controller))
        client = openai.AsyncOpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0)
        yield await stack.enter_async_context(client)


async def test_answers_follow_the_uploaded_picture(client: openai.AsyncOpenAI) -> None:
    for colour in ("red", "blue"):
        file = io.BytesIO()
        simple_image("circle", colour).save(file, "PNG")
        kept = await client.files.create(file=(f"{colour}.png", file.getvalue()), purpose="vision")
        part = {"type": "image_file", "image_file": {"file_id": kept.id}}
        asked = {"type": "text", "text": "What color is the circle?"}
        said = {"role": "user", "content": [part, asked]}
        tokens = []
        for _ in range(2):
            answer = await client.chat.completions.create(
                model="llava-tiny",
                messages=[said],  # type: ignore[list-item]  # a part beyond OpenAI's
                temperature=0,
                max_tokens=40,
            )
            assert colour in (answer.choices[0].message.content or "").lower()
            assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
            tokens.append(answer.usage.prompt_tokens_details.cached_tokens)
        assert tokens[1]  # the same picture, to the worker's caches too
