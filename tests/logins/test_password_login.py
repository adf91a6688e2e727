"""Signing in at the page with a name and a password, and out."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from gradio.route_utils import BUILD_PATH_LIB

from llava_serve.http import serving
from llava_serve.login_config import LoginConfig
from llava_serve.logins import attempts
from llava_serve.logins.auth_file import read_users, write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.logins.routes import path_within
from llava_serve.web.app import build_app
from llava_serve.web.translations.language import Languages
from tests.logins.conftest import HTML, OpenBrowser, sign_in
from tests.web.conftest import MakeServices


async def test_who_has_not_signed_in_is_sent_to_and_comes_back(browser: httpx.AsyncClient) -> None:
    sent = await browser.get("/?chat=abc", headers=HTML)
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=%2F%3Fchat%3Dabc")
    form = await browser.get(sent.headers["location"])
    assert 'name="next" value="/?chat=abc"' in form.text
    done = await sign_in(browser, "alice", back="/?chat=abc")
    assert (done.status_code, done.headers["location"]) == (303, "/?chat=abc")
    assert (await browser.get("/", headers=HTML)).status_code == 200
    assert (await browser.get("/login")).headers["location"] == "/"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/config"),
        ("GET", f"/media/{'a' * 64}.png"),
        ("POST", "/transcript"),
        ("POST", "/attach"),
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/run/predict"),
        ("GET", "/gradio_api/file=uploads/a/b.png"),
        ("GET", "/gradio_api/queue/data?session_hash=s"),
        ("GET", "/assets/index.js"),
        ("GET", f"/assets/{next(Path(BUILD_PATH_LIB).glob('index-*.js')).name}"),
    ],
)
async def test_nothing_of_the_page_is_for_strangers(
    browser: httpx.AsyncClient, method: str, path: str
) -> None:
    refused = await browser.request(method, path, json={} if method == "POST" else None)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "login_required")
    assert "sign in" in refused.json()["detail"]


async def test_health_is_told_to_whoever_watches_the_process(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/health")).status_code == 200


async def test_the_cookie_is_for_this_page_alone(browser: httpx.AsyncClient) -> None:
    cookie = (await sign_in(browser, "alice")).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie
    assert "Secure" not in cookie, "it would not come back over plain HTTP"
    assert "alice" not in cookie


@pytest.mark.parametrize("name", ["alice", "mallory", ""])
async def test_a_wrong_password_and_a_wrong_name_are_told_the_same(
    browser: httpx.AsyncClient, name: str
) -> None:
    refused = await sign_in(browser, name, "guessed it")
    assert refused.status_code == 401
    assert "The name or the password is wrong." in refused.text
    assert "guessed" not in refused.text and "set-cookie" not in refused.headers


async def test_who_has_not_signed_in_is_told_so_in_their_language(
    browser: httpx.AsyncClient,
) -> None:
    browser.headers["Accept-Language"] = "zh-CN,zh;q=0.9,en;q=0.8"
    form = await browser.get("/login")
    assert '<html lang="zh">' in form.text
    assert ">用户名</label>" in form.text and ">登录</button>" in form.text
    assert "Sign in" not in form.text
    refused = await sign_in(browser, "alice", "guessed it")
    assert refused.status_code == 401 and ">用户名</label>" in refused.text
    browser.headers["Cookie"] = "language=en"
    assert ">Name</label>" in (await browser.get("/login")).text


async def test_a_refusal_is_in_the_language_of_the_request(
    make_services: MakeServices, auth_file: Path, tmp_path: Path
) -> None:
    german = {"error.login_required": "Sie sind nicht angemeldet.", "login.name": "Benutzername"}
    catalogue = {"language": "de", "name": "Deutsch", "messages": german}
    (file := tmp_path / "de.json").write_text(json.dumps(catalogue))
    services = make_services("http://127.0.0.1:9")
    logins = LoginSessions.of(LoginConfig(auth_file=auth_file), tmp_path)
    page = build_app(replace(services, logins=logins, languages=Languages.of([file])))
    headers = {"Accept-Language": "de-AT"}
    async with (
        serving.served(page.app, page.before_stop) as address,
        httpx.AsyncClient(base_url=address, headers=headers, trust_env=False) as browser,
    ):
        refused = await browser.post("/transcript", json={})
        assert refused.status_code == 401
        assert refused.json()["detail"].startswith("Sie sind nicht angemeldet.")
        assert refused.json()["error"]["message"].startswith("you are not signed in. ")
        form = await browser.get("/login")
        assert ">Benutzername</label>" in form.text and ">Password</label>" in form.text


async def test_a_name_comes_back_into_the_form_as_text(browser: httpx.AsyncClient) -> None:
    refused = await sign_in(browser, '"><script>', "guessed it", back='"><b>')
    assert "<script>" not in refused.text and "<b>" not in refused.text


async def test_too_many_failures_have_to_wait_even_with_the_right_password(
    open_browser: OpenBrowser,
) -> None:
    browser = await open_browser()
    tried = [sign_in(browser, "alice", "guessed it") for _ in range(attempts.MOST + 4)]
    statuses = [one.status_code for one in await asyncio.gather(*tried)]
    assert statuses.count(401) <= attempts.MOST + 1, "two are compared at once"
    refused = await sign_in(await open_browser(), "alice")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == str(attempts.WAIT_S)


async def test_a_new_password_or_a_removal_ends_what_was_signed_in(
    open_browser: OpenBrowser, auth_file: Path
) -> None:
    alice, bob = await open_browser(), await open_browser()
    await sign_in(alice, "alice")
    await sign_in(bob, "bob")
    users = read_users(auth_file)
    write_users(auth_file, {"alice": hashed("changed it", 4), "bob": users["bob"]})
    assert (await alice.get("/", headers=HTML)).status_code == 303
    assert (await bob.get("/", headers=HTML)).status_code == 200
    assert (await sign_in(alice, "alice", "changed it")).status_code == 303
    assert (await alice.get("/", headers=HTML)).status_code == 200
    write_users(auth_file, {"alice": hashed("changed it", 4)})
    assert (await bob.get("/", headers=HTML)).status_code == 303


async def test_a_file_that_was_damaged_lets_in_who_was_in_it(
    browser: httpx.AsyncClient, auth_file: Path
) -> None:
    await asyncio.to_thread(auth_file.write_text, "alice")
    assert (await sign_in(browser, "alice")).status_code == 303


async def test_signing_out_forgets_the_browser(browser: httpx.AsyncClient) -> None:
    await sign_in(browser, "alice")
    out = await browser.post("/logout", headers={"Origin": str(browser.base_url)})
    assert (out.status_code, out.headers["location"]) == (303, "/login")
    assert '"cache"' in out.headers["clear-site-data"]
    assert (await browser.get("/", headers=HTML)).status_code == 303


@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_another_site_can_neither_sign_in_nor_out(
    browser: httpx.AsyncClient, path: str
) -> None:
    refused = await browser.post(path, data={}, headers={"Origin": "http://evil.example"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_refused")


async def test_a_cookie_that_was_made_up_is_none(browser: httpx.AsyncClient) -> None:
    browser.cookies.set("llava_session", "gAAAAABmade-up")
    assert (await browser.get("/", headers=HTML)).status_code == 303


@pytest.mark.parametrize(
    "path",
    ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "", "/\t/evil.example"],
)
def test_no_way_leads_off_the_page(path: str) -> None:
    assert path_within(path) == "/"
    assert path_within("/?chat=1&compare=2") == "/?chat=1&compare=2"
