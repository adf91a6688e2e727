"""The cluster's tab in a real browser: who sees it, what it shows, and what its buttons do."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Request, expect

from llava_serve.cluster.registry.sight import Sight
from llava_serve.cluster_token import bearer
from llava_serve.errors import WorkerUnreachable
from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.protocol.vitals import Vitals
from llava_serve.web.operators.rights import Operators
from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, TOKEN, Stack, page_served
from tests.e2e.test_page.test_accessibility import SMALL, check, check_themes, themes
from tests.e2e.test_page.test_login import PASSWORD, sign_in

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

CACHES = {
    "kv_tokens_total": 60_000,
    "kv_tokens_held": 15_000,
    "kv_tokens_cached": 6_000,
    "feature_bytes": 5_000_000,
    "feature_hits": 3,
    "feature_misses": 1,
}
CUT_OFF = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest_asyncio.fixture(loop_scope="session")
async def address(stack: Stack, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a page for operators on this machine, before two workers."""
    for model in ("one", "two"):
        await stack.join(model)
    operators = Operators(are_local=True)
    async with page_served(stack.controller, tmp_path, None, operators) as (address, _):
        yield address


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The logger whose level the controller sets; afterwards it is as it was."""
    logger = logging.getLogger()
    level = logger.level
    yield logger
    logger.setLevel(level)


async def tell(stack: Stack, model: str, tokens: int) -> None:
    """Send a heartbeat of a worker that has generated so many tokens."""
    vitals = Vitals(
        version="1.2.3",
        uptime_s=60,
        precision="bfloat16",
        generated_tokens=tokens,
        engine=CACHES,
    )
    body = {"worker_name": stack.addresses[model], "queue_length": 0, "vitals": vitals.model_dump()}
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.post(
            f"{stack.controller}/receive_heart_beat", json=body, headers=bearer(TOKEN)
        ) as answer,
    ):
        assert answer.status == 200


async def shown(tab: Tab, worker: str) -> Locator:
    """Open the cluster's tab; return the row of the worker at an address."""
    await tab.page.get_by_role("tab", name="Cluster").click()
    row = tab.page.locator(f'#cluster tr[data-worker="{worker}"]')
    await expect(row).to_be_visible()
    return row


@SIZES
async def test_the_cluster_is_seen_live_drained_and_put_back(
    browser: Browser, stack: Stack, address: str, size: tuple[int, int]
) -> None:
    for tokens in (10, 20, 90):
        await tell(stack, "one", tokens)
    blind = stack.registry.get(stack.addresses["two"])
    assert blind is not None and stack.registry.judge(blind, Sight(False, "it named no colour"))
    async with opened(browser, address, size) as tab:
        row = await shown(tab, stack.addresses["one"])
        await expect(row).to_contain_text("1.2.3")
        await expect(row).to_contain_text("bfloat16")
        await expect(row).to_contain_text("25% used")
        await expect(row.locator("svg.spark")).to_have_count(2)
        await expect(tab.page.locator("#cluster tr[data-worker]").first).to_contain_text("blind")
        async for _ in themes(tab):
            await check(tab)
            assert await tab.page.evaluate(SMALL) == []
            assert await tab.page.evaluate(CUT_OFF) == 0

        drain = row.get_by_role("button", name="Drain")
        await drain.click()
        dialog = tab.page.get_by_role("dialog", name="Drain this worker?")
        await check_themes(tab)
        await tab.page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        assert not stack.registry.known()[0].is_draining
        await drain.press("Enter")
        await dialog.get_by_role("button", name="Drain it").click()
        await expect(row.locator(".state")).to_have_text("drained")
        await expect(tab.page.locator("#cluster [role=status]")).to_contain_text("gets nothing new")
        await row.get_by_role("button", name="Undrain").click()
        await expect(row.locator(".state")).to_have_text("alive")
        await tell(stack, "one", 5000)  # by itself the page takes it up
        await expect(row.locator("svg.spark").first).to_be_visible()


@SIZES
async def test_failures_with_what_to_do_and_the_search(
    browser: Browser, stack: Stack, address: str, size: tuple[int, int]
) -> None:
    async with opened(browser, address, size) as tab:
        row = await shown(tab, stack.addresses["one"])
        await stack.crash("one")
        body = {"model": "one", "messages": [{"role": "user", "content": "x"}]}
        async with aiohttp.ClientSession(trust_env=False) as session:
            url = f"{stack.controller}/v1/chat/completions"
            async with session.post(url, json=body) as answer:
                assert answer.status == 503
        failures = tab.page.locator("#cluster .failures")
        await expect(failures).to_contain_text("worker_unreachable")
        await expect(failures).to_contain_text("ours")
        await expect(failures).to_contain_text(WorkerUnreachable.remedy)
        await expect(row.locator("summary")).to_contain_text("worker_unreachable")
        await row.locator("summary").click()
        await expect(row).to_contain_text("request ")
        await check(tab)
        await tab.page.get_by_role("searchbox", name="Search workers").fill("two")
        await expect(row).to_have_count(0)
        await expect(tab.page.locator("#cluster tr[data-worker]")).to_have_count(1)


@SIZES
async def test_the_log_level_is_set_and_said(
    browser: Browser,
    stack: Stack,
    address: str,
    size: tuple[int, int],
    root_logger: logging.Logger,
) -> None:
    async with opened(browser, address, size) as tab:
        await shown(tab, stack.addresses["one"])
        menu = tab.page.get_by_label("Controller's log level")
        await menu.select_option("debug")
        told = tab.page.locator("#cluster [role=status]")
        await expect(told).to_contain_text("logs from debug on")
        assert root_logger.level == logging.DEBUG
        await menu.select_option("info")
        await expect(told).to_contain_text("logs from info on")
        assert root_logger.level == logging.INFO


@SIZES
async def test_of_users_who_sign_in_only_operators_see_the_tab(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    write_users(tmp_path / "users", {name: hashed(PASSWORD, 4) for name in ("alice", "bob")})
    config = LoginConfig(auth_file=tmp_path / "users", admins="alice")
    logins, operators = LoginSessions.of(config, tmp_path), Operators.of(config)
    async with page_served(stack.controller, tmp_path, logins, operators) as (address, _):
        for name, count in (("bob", 0), ("alice", 1)):
            async with opened(browser, address, size) as tab:
                await sign_in(tab.page, name)
                await expect(tab.model).to_have_value("echo")
                tabs = tab.page.get_by_role("tab", name="Cluster")
                await expect(tabs).to_have_count(count)
                answer = await tab.page.request.get(f"{address}/operators/cluster")
                assert answer.status == (200 if count else 403)


async def test_the_page_asks_only_while_the_cluster_is_in_sight(
    browser: Browser, address: str
) -> None:
    async with opened(browser, address) as tab:
        asked = asyncio.Event()

        def note(request: Request) -> None:
            if "/operators/" in request.url:
                asked.set()

        tab.page.on("request", note)
        await expect(tab.page.get_by_role("tab", name="Cluster")).to_be_visible()
        await tab.compare()
        await expect(tab.textbox).to_be_visible()
        assert not asked.is_set()
        await tab.page.get_by_role("tab", name="Cluster").click()
        await asked.wait()


async def test_no_row_moves_away_beneath_the_pointer(
    browser: Browser, stack: Stack, address: str
) -> None:
    async with opened(browser, address) as tab:
        await shown(tab, stack.addresses["two"])
        rows = tab.page.locator("#cluster tr[data-worker]")
        await rows.last.hover()
        stack.registry.set_draining(stack.addresses["two"], True)
        await expect(rows.last.locator(".state")).to_have_text("drained")
        await tab.page.mouse.move(0, 0)
        await expect(rows.first.locator(".state")).to_have_text("drained")
