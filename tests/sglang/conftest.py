"""A real SGLang server with the checkpoint that ships, behind our worker, behind our controller."""

import asyncio
import base64
import io
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from PIL import Image

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import DISPATCH
from llava_serve.cluster.registry.registry import Registry
from llava_serve.engines.sglang.client import SglangClient
from llava_serve.engines.sglang.config import SglangWorkerConfig
from llava_serve.engines.sglang.engine import SglangEngine
from llava_serve.engines.sglang.server import Server
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.lifecycle import WorkerLifecycle
from llava_serve.worker.worker import ModelWorker
from tests.checkpoints.tool_checkpoint import HERMES, tool_checkpoint
from tests.ports import free_port
from tests.sglang.launched import sglang

TOKEN = "sglang"
PATIENCE_S = 60.0


class Stack:
    """A controller, our worker and the SGLang server behind it."""

    def __init__(self, controller: str, worker: str, endpoint: str) -> None:
        self.controller = controller
        self.worker = worker
        self.endpoint = endpoint
        self.openai = openai.AsyncOpenAI(base_url=f"{controller}/v1", api_key="none", max_retries=0)
        self.http: aiohttp.ClientSession

    async def complete(self, *content: dict[str, Any], **fields: Any) -> Any:
        """Return the completion of one turn, chosen greedily unless `fields` say otherwise."""
        asked: dict[str, Any] = {"messages": user(*content), "temperature": 0, "max_tokens": 60}
        if "model" not in fields:
            asked["model"] = (await self.models())[0]
        return await self.openai.chat.completions.create(**asked | fields)

    async def ask(self, *content: dict[str, Any], **fields: Any) -> str:
        answer = await self.complete(*content, **fields)
        return answer.choices[0].message.content or ""

    async def models(self) -> list[str]:
        return [card.id for card in (await self.openai.models.list()).data]

    async def serves(self, *models: str) -> None:
        """Wait until the controller offers exactly these."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while await self.models() != [*models]:
            if asyncio.get_running_loop().time() > deadline:
                pytest.fail(f"the controller offers {await self.models()} and not {models}")
            await asyncio.sleep(0.02)

    async def running(self) -> int:
        """Return the requests that the SGLang server itself counts."""
        async with self.http.get(f"{self.endpoint}/v1/loads?include=core") as answer:
            ranks = (await answer.json())["loads"]
        return sum(rank["num_running_reqs"] + rank["num_waiting_reqs"] for rank in ranks)

    async def old_wire(self, prompt: str, images: list[str], model: str = "llava-tiny") -> bytes:
        """Return the last chunk of LLaVA's own wire."""
        body: dict[str, Any] = {"model": model, "prompt": prompt, "images": images}
        body |= {"temperature": 0, "max_new_tokens": 40}
        url = f"{self.controller}/worker_generate_stream"
        async with self.http.post(url, json=body) as answer:
            return (await answer.read()).rstrip(b"\0").rpartition(b"\0")[2]


@asynccontextmanager
async def stack_before(endpoint: str, folder: Path) -> AsyncIterator[Stack]:
    """Run a controller and a worker for `endpoint`, whether a server is there or not."""
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    registry = Registry(DISPATCH["shortest_queue"])
    async with AsyncExitStack() as running:
        controller = await running.enter_async_context(
            serving.served(build_controller(registry, AdmissionPolicy(TOKEN)))
        )
        config = SglangWorkerConfig(
            controller=(controller,),
            port=free_port(),
            cluster_token_file=token_file,
            sgl_endpoint=endpoint,
        )
        client = SglangClient(config.sgl_endpoint)
        server = Server(client)
        engine = SglangEngine(client, server)
        gate = Gate(engine.slots, config.max_waiting, server.load)
        worker = ModelWorker(engine, gate, MediaReader(config), secrets.token_hex(4))
        lifecycle = WorkerLifecycle(worker, config, server)
        app = build_worker(worker, max_body_bytes=50_000_000, background=lifecycle.running)
        address = await running.enter_async_context(
            serving.served(app, before_stop=lifecycle.leave, port=config.port)
        )
        stack = Stack(controller, address, endpoint)
        await running.enter_async_context(stack.openai)
        stack.http = await running.enter_async_context(aiohttp.ClientSession(trust_env=False))
        yield stack


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the checkpoint that ships, with a chat template that has tools."""
    folder = tmp_path_factory.mktemp("sglang")
    # SGLang keeps images from a template that it finds no word of them in.
    model = tool_checkpoint(folder / "llava-tiny", HERMES + "{#- image -#}")
    with sglang(model, folder / "log", "--tool-call-parser", "qwen") as address:
        yield address


@pytest.fixture
async def stack(endpoint: str, tmp_path: Path) -> AsyncIterator[Stack]:
    async with stack_before(endpoint, tmp_path) as stack:
        await stack.serves("llava-tiny")
        yield stack


def user(*content: dict[str, Any]) -> list[Any]:
    return [{"role": "user", "content": [*content]}]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def encoded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def picture(image: Image.Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + encoded(image)}}
