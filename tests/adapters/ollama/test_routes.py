"""Routes of Ollama's protocol behind the guard, the limits and the errors of all routes."""

from pathlib import Path

import httpx
import ollama
import pytest

from llava_serve.engines.echo import EchoEngine
from tests.adapters.conftest import stack_of
from tests.adapters.ollama.conftest import HELLO, asked, client_of
from tests.cluster.keyed import echo_worker, keyed_controller

ROUTES = {
    "chat": asked(stream=False),
    "generate": {"model": "echo", "prompt": "hi", "stream": False},
    "show": {"model": "echo"},
    "tags": None,
    "ps": None,
    "version": None,
}


async def test_a_name_that_ends_as_the_tag_does_is_kept() -> None:
    engine = EchoEngine("echo:latest")
    async with stack_of(engine) as stack, client_of(stack.controller) as client:
        assert (await client.chat(**asked(model="echo:latest"))).message.content
        with pytest.raises(ollama.ResponseError, match="is not served here"):
            await client.chat(**asked())


async def test_an_older_client_calls_a_model_name(address: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        shown = await http.post(f"{address}/api/show", json={"name": "echo", "verbose": True})
        assert shown.json()["capabilities"] == ["completion", "vision"]
        nothing = await http.post(f"{address}/api/show", json={})
        assert nothing.json() == {
            "error": "model: Field required. Correct the request and send it again."
        }


async def test_every_route_asks_for_a_key_where_keys_are_asked_for(tmp_path: Path) -> None:
    async with keyed_controller(tmp_path) as keyed, echo_worker(keyed):
        good, other = await keyed.headers(), await keyed.headers("bob", models=("other",))
        for name, body in ROUTES.items():
            method, url = "POST" if body else "GET", f"{keyed.address}/api/{name}"
            refused = await keyed.http.request(method, url, json=body)
            assert (refused.status_code, list(refused.json())) == (401, ["error"])
            answer = await keyed.http.request(method, url, json=body, headers=good)
            assert answer.status_code == 200
        assert await keyed.used() > 0
        listed = await keyed.http.get(f"{keyed.address}/api/tags", headers=other)
        assert listed.json() == {"models": []}
        shown = await keyed.http.post(
            f"{keyed.address}/api/show", json={"model": "echo:latest"}, headers=other
        )
        assert shown.status_code == 404
        async with client_of(keyed.address, headers=other) as client:
            with pytest.raises(ollama.ResponseError) as refusal:
                await client.chat("echo:latest", HELLO)
        assert refusal.value.status_code == 403


async def test_a_page_of_another_website_is_refused(address: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        for name in ("chat", "generate", "show"):
            url, foreign = f"{address}/api/{name}", {"Origin": "https://evil.example.net"}
            refused = await http.post(url, json=ROUTES[name], headers=foreign)
            assert (refused.status_code, list(refused.json())) == (403, ["error"])
            undeclared = await http.post(url, content=b"{}", headers={"Content-Type": "text/plain"})
            assert undeclared.status_code == 415
            assert undeclared.json()["error"].endswith("application/json.")


async def test_only_images_may_be_long(address: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:

        async def error_of(name: str, **body: object) -> str:
            answer = await http.post(f"{address}/api/{name}", json={"model": "echo", **body})
            assert answer.headers["request-id"]
            return str(answer.json()["error"])

        long = "A" * 1_100_000
        unreadable = await error_of("generate", prompt="hi", images=[long])
        assert "Shorten the text" not in unreadable
        assert "Shorten the text" in await error_of("generate", prompt=long)
        assert "Shorten the text" in await error_of("show", system=long)


async def test_what_would_change_models_is_not_served(client: ollama.AsyncClient) -> None:
    for work in (client.pull("x"), client.push("x"), client.delete("x"), client.embed("x", "y")):
        with pytest.raises(ollama.ResponseError, match="is not served here") as refusal:
            await work
        assert refusal.value.status_code == 404
