"""A checkpoint whose projector is broken joins a cluster, and no user's picture reaches it."""

import asyncio
import base64
import io
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig, ModelConfig
from llava_serve.engines.build import build_engine
from llava_serve.http import serving
from llava_serve.http.access import Access
from llava_serve.media.reader import MediaReader
from llava_serve.tiny import CHECKPOINT, ONE_WORD
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker

pytestmark = pytest.mark.slow

TOKEN = "e2e"
NAME = "tiny"
HEALTHY = ModelConfig(model_name=NAME)


def broken(folder: Path, of: Callable[[torch.Tensor], torch.Tensor]) -> ModelConfig:
    """Return the bundled checkpoint with another projector."""
    shutil.copytree(CHECKPOINT, folder)
    weights = load_file(folder / "model.safetensors")
    changed = {name: of(weights[name]) for name in weights if "projector" in name}
    assert changed
    save_file(weights | changed, folder / "model.safetensors", {"format": "pt"})
    return replace(HEALTHY, model_path=str(folder))


@asynccontextmanager
async def cluster(*models: ModelConfig) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a worker for each model behind a controller, to which all have just registered."""
    registry = Registry(shortest_queue, check_within_s=60)
    app = build_controller(registry, AdmissionPolicy(TOKEN), ControllerSettings(canary_every_s=600))
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving.served(app))
        http = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
        await stack.enter_async_context(http)
        for model in models:
            engine = await asyncio.to_thread(build_engine, model, slots=2)
            stack.push_async_callback(asyncio.to_thread, engine.close)
            media = MediaReader(MediaConfig())
            worker = ModelWorker(engine, Gate(2, 16), media, secrets.token_hex(4))
            served = build_worker(worker, max_body_bytes=10**6, access=Access(token=TOKEN))
            name = await stack.enter_async_context(serving.served(served))
            status = worker.status(engine.card).model_dump()
            body = {"worker_name": name, "worker_status": status}
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            (await http.post("/register_worker", json=body, headers=bearer)).raise_for_status()
        yield http


async def ask(http: httpx.AsyncClient) -> httpx.Response:
    image = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(image).rectangle((50, 50, 150, 150), fill="green")
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    url = "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode()
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "What color is the square?"},
    ]
    body = {"model": NAME, "messages": [{"role": "user", "content": content}], "temperature": 0}
    return await http.post("/v1/chat/completions", json=body)


async def sees(http: httpx.AsyncClient) -> list[bool | None]:
    """Return what is known of each worker, once something is known of all."""
    while True:
        found = [worker["sees"] for worker in (await http.get("/workers")).json()]
        if None not in found:
            return found
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        pytest.param(torch.zeros_like, "'I see no picture.'", id="zeroed"),
        pytest.param(lambda old: old * torch.nan, "computed no number", id="no numbers"),
    ],
)
async def test_a_broken_projector_is_caught_before_the_first_user_sees_it(
    of: Callable[[torch.Tensor], torch.Tensor], reason: str, tmp_path: Path
) -> None:
    async with cluster(broken(tmp_path / "broken", of)) as http:
        refused = await ask(http)
        assert refused.json()["error"]["code"] == "only_blind_workers"
        assert reason in refused.json()["error"]["message"]
        assert await sees(http) == [False]
        text = {"model": NAME, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        assert (await http.post("/v1/chat/completions", json=text)).status_code == 200


async def test_a_healthy_worker_answers_in_place_of_a_broken_one(tmp_path: Path) -> None:
    async with cluster(broken(tmp_path / "broken", torch.zeros_like), HEALTHY) as http:
        for _ in range(4):
            answer = await ask(http)
            said = answer.json()["choices"][0]["message"]["content"]
            assert said == "The square is green."
        assert await sees(http) == [False, True]


@pytest.mark.parametrize(
    "model",
    [
        replace(HEALTHY, dtype="bfloat16"),
        replace(HEALTHY, model_path=str(ONE_WORD), model_base=str(CHECKPOINT)),
    ],
    ids=["bfloat16", "one word"],
)
async def test_a_healthy_checkpoint_passes(model: ModelConfig) -> None:
    async with cluster(model) as http:
        assert (await ask(http)).status_code == 200
        assert await sees(http) == [True]
