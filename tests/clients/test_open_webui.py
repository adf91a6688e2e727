"""Open WebUI, its own server in an environment of its own, has the controller as connection."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.clients.conftest import PICTURE, ClientStack
from tests.ports import free_port
from tests.until import bounded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.clients,
    pytest.mark.asyncio(loop_scope="session"),
]

PROGRAM = Path(__file__).parents[2] / ".venv-client-open-webui" / "bin" / "open-webui"
ANSWER = "The circle is red."
START_S = 400  # it takes 100 s on two busy cores, most of it to import what it might need
ADMIN = {"name": "admin", "email": "admin@example.com", "password": "Secret-12345"}
# Nothing from a hub, no texts of its own making that would be further requests.
SETTINGS = {
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "ENABLE_OLLAMA_API": "false",
    "RAG_EMBEDDING_ENGINE": "openai",
    "BYPASS_EMBEDDING_AND_RETRIEVAL": "true",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "true",
    "WEBUI_SECRET_KEY": "secret",
}


async def until_it_answers(http: httpx.AsyncClient, server: asyncio.subprocess.Process) -> None:
    async with bounded("an answer of Open WebUI", START_S):
        while server.returncode is None:
            try:
                if (await http.get("/health")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.5)
    raise AssertionError("Open WebUI has ended before it answered")


@dataclass
class OpenWebui:
    """Its address, as its first user, who is its administrator, reaches it."""

    http: httpx.AsyncClient

    def ask(self, model: str, content: Any, **fields: Any) -> httpx.Request:
        """Return a request with the sampling that Open WebUI has by default, unless told other."""
        body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
        return self.http.build_request("POST", "/api/chat/completions", json=body)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def webui(
    served: ClientStack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[OpenWebui]:
    folder, port = tmp_path_factory.mktemp("open-webui"), free_port()
    assert PROGRAM.exists(), "first: bash scripts/clients_env.sh python3 open-webui"
    connection = {"OPENAI_API_BASE_URL": f"{served.controller}/v1", "OPENAI_API_KEY": "none"}
    environment = {**os.environ, **SETTINGS, **connection, "DATA_DIR": str(folder)}
    with (folder / "log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            *(PROGRAM, "serve", "--host", "127.0.0.1", "--port", str(port)),
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=120) as http:
            await until_it_answers(http, server)
            admin = await http.post("/api/v1/auths/signup", json=ADMIN)
            http.headers["Authorization"] = f"Bearer {admin.raise_for_status().json()['token']}"
            listed = (await http.get("/api/models")).raise_for_status().json()["data"]
            assert {"llava-tiny", "slow"} <= {model["id"] for model in listed}
            yield OpenWebui(http)
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


def about_the_picture() -> list[dict[str, Any]]:
    uri = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()
    return [
        {"type": "text", "text": "What color is the circle?"},
        {"type": "image_url", "image_url": {"url": uri}},
    ]


async def test_it_answers_about_a_picture(webui: OpenWebui) -> None:
    answer = await webui.http.send(webui.ask("llava-tiny", about_the_picture(), stream=False))
    assert answer.raise_for_status().json()["choices"][0]["message"]["content"] == ANSWER


async def test_it_streams_about_a_picture(webui: OpenWebui) -> None:
    request = webui.ask("llava-tiny", about_the_picture(), stream=True)
    answer = await webui.http.send(request, stream=True)
    chunks = [line.removeprefix("data: ") async for line in answer.aiter_lines() if line]
    assert chunks.pop() == "[DONE]"
    deltas = [json.loads(chunk)["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(deltas) == ANSWER and sum(map(bool, deltas)) > 1


@pytest.mark.parametrize("stream", [False, True])
async def test_our_error_reaches_its_user_with_the_remedy(webui: OpenWebui, stream: bool) -> None:
    request = webui.ask("llava-tiny", "What?", stream=stream, temperature=9)
    answer = await webui.http.send(request)
    assert answer.status_code == 400
    error = answer.json()["error"]
    remedy = "Correct the request and send it again."
    reason = "temperature: Input should be less than or equal to 2"
    assert (error["message"], error["remedy"]) == (f"{reason}. {remedy}", remedy)


async def test_it_knows_itself_which_models_there_are(webui: OpenWebui) -> None:
    answer = await webui.http.send(webui.ask("no-such-model", "What?"))
    assert (answer.status_code, answer.json()) == (400, {"detail": "Model not found"})


async def test_a_stream_that_is_left_leaves_the_worker_idle(
    webui: OpenWebui, served: ClientStack
) -> None:
    answer = await webui.http.send(webui.ask("slow", "word " * 300, stream=True), stream=True)
    await anext(answer.aiter_lines())
    assert served.slow.running
    await answer.aclose()
    await served.slow_is_idle()
