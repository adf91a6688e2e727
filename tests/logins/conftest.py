"""A page where users sign in, and browsers on it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from llava_serve.http import serving
from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.web.app import build_app
from tests.web.conftest import (
    MakeServices,
    controller as controller,
    engine as engine,
    make_services as make_services,
    services as services,
    upload_folder as upload_folder,
)

PASSWORDS = {"alice": "alice's password", "bob": "bob's password"}
HTML = {"Accept": "text/html"}

OpenBrowser = Callable[[], Awaitable[httpx.AsyncClient]]


@pytest.fixture
def auth_file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    write_users(path, {name: hashed(password, 4) for name, password in PASSWORDS.items()})
    return path


@pytest.fixture
async def open_browser(
    make_services: MakeServices, auth_file: Path, tmp_path: Path
) -> AsyncIterator[OpenBrowser]:
    """Open a browser on a page without a controller."""
    logins = LoginSessions.of(LoginConfig(auth_file=auth_file), tmp_path)
    page = build_app(replace(make_services("http://127.0.0.1:9"), logins=logins))
    async with serving.served(page.app, page.before_stop) as address, AsyncExitStack() as stack:

        async def open_() -> httpx.AsyncClient:
            client = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
            return await stack.enter_async_context(client)

        yield open_


@pytest.fixture
async def browser(open_browser: OpenBrowser) -> httpx.AsyncClient:
    return await open_browser()


async def sign_in(
    browser: httpx.AsyncClient, name: str, password: str | None = None, back: str = "/"
) -> httpx.Response:
    form = {"name": name, "password": password or PASSWORDS[name], "next": back}
    return await browser.post("/login", data=form, headers={"Origin": str(browser.base_url)})
