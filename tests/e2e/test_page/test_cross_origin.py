"""Pages on another origin ask about a picture, from a real Chromium: the examples as they stand."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, Page, expect
from starlette.staticfiles import StaticFiles

from llava_serve.api_key import ApiKey
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import KeyRefused
from llava_serve.http import serving
from llava_serve.http.access import Access
from llava_serve.http.cross_origin import Origins
from llava_serve.media.reader import MediaReader
from llava_serve.request import Delta, GenerateRequest
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.chromium import opened
from tests.clients.node import CLIENTS

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[3] / "scripts" / "examples"
TOKEN, KEY = "the-token", "sk-good"
PAGES = ["ask.html", "ask_openai.html"]  # with the browser's means alone, and npm's client
WATCH = """
() => {
  const answer = document.querySelector('#answer');
  window.states = [];
  new MutationObserver(() => states.push(answer.textContent)).observe(answer, {childList: true});
}
"""
SIMPLE_POST = """
async ([address, body]) => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
    await fetch(address + '/v1/chat/completions', {
      method: 'POST', mode: 'no-cors', headers: {'Content-Type': type}, body,
    });
  }
}
"""
QUESTION = '{"model": "echo", "messages": [{"role": "user", "content": "hi"}]}'


class CountingEcho(EchoEngine):
    """An echo engine that counts what reaches it."""

    asked = 0

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        self.asked += 1
        async for delta in super().stream(request):
            yield delta


async def find_key(text: str) -> ApiKey:
    if text != KEY:
        raise KeyRefused("unknown")
    return ApiKey(id="u", name="alice")


@asynccontextmanager
async def another_origin() -> AsyncIterator[str]:
    assert CLIENTS.exists(), "first: bash scripts/get_npm_clients.sh .venv/bin/python"
    site = FastAPI()
    site.mount("/node_modules", StaticFiles(directory=CLIENTS / "node_modules"))
    site.mount("/", StaticFiles(directory=EXAMPLES))
    async with serving.served(site) as address:
        yield address


@asynccontextmanager
async def controller(
    *origins: str, asks_for_keys: bool = False
) -> AsyncIterator[tuple[str, CountingEcho]]:
    engine = CountingEcho("echo", delay_s=0.05)
    worker = ModelWorker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id="w")
    registry = Registry(shortest_queue)
    access = Access(
        token=TOKEN, origins=Origins.of(origins), find_key=find_key if asks_for_keys else None
    )
    app = build_controller(registry, AdmissionPolicy(TOKEN), ControllerSettings(access=access))
    async with (
        serving.served(build_worker(worker, max_body_bytes=10**7)) as worker_address,
        serving.served(app) as address,
    ):
        registry.register(worker_address, worker.status(engine.card), now=0, expires=False)
        yield address, engine


async def ask(page: Page, address: str, file: Path, **fields: Any) -> None:
    await page.locator("[name=address]").fill(address)
    for name, value in fields.items():
        await page.locator(f"[name={name}]").fill(value)
    await page.locator("[name=picture]").set_input_files(file)
    await page.get_by_role("button", name="Ask").click()


@pytest.mark.parametrize("name", PAGES)
async def test_an_answer_about_a_picture_streams_into_the_page(
    browser: Browser, shapes: Path, name: str
) -> None:
    async with (
        another_origin() as site,
        controller(site, asks_for_keys=True) as (address, _),
        opened(browser, f"{site}/{name}") as tab,
    ):
        await tab.page.evaluate(WATCH)
        await ask(tab.page, address, shapes, key=KEY, question="one two three")
        answer = tab.page.locator("#answer")
        await expect(answer).to_have_text("[1 picture: 320x240] one two three")
        states = await tab.page.evaluate("states")
        assert len(states) >= 5
        assert states == sorted(states, key=len)


@pytest.mark.parametrize("name", PAGES)
async def test_the_page_is_told_what_is_wrong(browser: Browser, shapes: Path, name: str) -> None:
    shapes.with_name("none.png").write_bytes(b"no picture")
    async with (
        another_origin() as site,
        controller(site, asks_for_keys=True) as (address, _),
        opened(browser, f"{site}/{name}") as tab,
    ):
        answer = tab.page.locator("#answer")
        await ask(tab.page, address, shapes, key="sk-bad")
        await expect(answer).to_have_text(re.compile("the API key is unknown"))
        await ask(tab.page, address, shapes.with_name("none.png"), key=KEY)
        await expect(answer).to_have_text(re.compile("picture 1 of the request"))


@pytest.mark.parametrize("allowed", [[], ["https://chat.example.com"]])
async def test_nothing_of_a_page_that_is_not_allowed_reaches_a_model(
    browser: Browser, shapes: Path, allowed: list[str]
) -> None:
    async with (
        another_origin() as site,
        controller(*allowed) as (address, engine),
        opened(browser, f"{site}/ask.html") as tab,
    ):
        await ask(tab.page, address, shapes)
        await expect(tab.page.locator("#answer")).to_have_text(re.compile("Failed to fetch"))
        await tab.page.evaluate(SIMPLE_POST, [address, QUESTION])
        assert engine.asked == 0
