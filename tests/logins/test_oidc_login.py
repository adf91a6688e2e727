"""Signing in over a real OpenID provider."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.login_config import LoginConfig
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.session_key import SessionKey
from llava_serve.web.app import build_app
from tests.logins.conftest import HTML
from tests.logins.provider import CLIENT_ID, SECRET, Provider
from tests.web.conftest import MakeServices

ALICE = {"sub": "42", "email": "Alice@Example.com", "email_verified": True, "name": "Alice"}


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider(ALICE)
    async with provider.served():
        yield provider


OpenPage = Callable[..., Awaitable[httpx.AsyncClient]]


def config_of(provider: Provider, folder: Path, **changed: Any) -> LoginConfig:
    (folder / "secret").write_text(f"{SECRET}\n")
    given = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret_file": folder / "secret",
        "oidc_allow": "example.com",
    }
    return LoginConfig(**(given | changed))  # type: ignore[arg-type]


@pytest.fixture
async def open_page(
    provider: Provider, make_services: MakeServices, tmp_path: Path
) -> AsyncIterator[OpenPage]:
    """Open a browser on a page whose users the provider knows."""
    async with AsyncExitStack() as stack:

        async def open_(**changed: Any) -> httpx.AsyncClient:
            logins = LoginSessions.of(config_of(provider, tmp_path, **changed), tmp_path)
            page = build_app(replace(make_services("http://127.0.0.1:9"), logins=logins))
            address = await stack.enter_async_context(serving.served(page.app, page.before_stop))
            client = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
            return await stack.enter_async_context(client)

        yield open_


async def sign_in(browser: httpx.AsyncClient, back: str = "/") -> httpx.Response:
    """Go the way that a browser is sent, and return the answer at its end."""
    answer = await browser.get("/login/oidc", params={"next": back})
    while answer.status_code == 302:
        answer = await browser.get(answer.headers["location"])
    return answer


async def test_a_user_signs_in_and_comes_back_to_where_they_were(
    open_page: OpenPage, provider: Provider
) -> None:
    browser = await open_page()
    form = await browser.get("/login?next=/%3Fchat%3Da", headers=HTML)
    assert f"Sign in with {urlsplit(provider.issuer).netloc}" in form.text
    assert 'href="/login/oidc?next=%2F%3Fchat%3Da"' in form.text
    done = await sign_in(browser, "/?chat=a")
    assert (done.status_code, done.headers["location"]) == (303, "/?chat=a")
    assert (await browser.get("/", headers=HTML)).status_code == 200
    (asked,) = provider.asked
    assert asked["code_challenge_method"] == "S256" and asked["nonce"] and asked["state"]
    assert asked["redirect_uri"] == f"{browser.base_url}/login/oidc/back".replace(
        "//login", "/login"
    )


async def test_the_page_s_public_address_is_where_the_provider_sends_back(
    open_page: OpenPage,
) -> None:
    browser = await open_page(public_address="https://chat.example.com/")
    sent = await browser.get("/login/oidc")
    asked = parse_qs(urlsplit(sent.headers["location"]).query)
    assert asked["redirect_uri"] == ["https://chat.example.com/login/oidc/back"]
    assert "Secure" in sent.headers["set-cookie"]


async def test_the_cookie_of_the_way_over_the_provider_is_no_user_s(open_page: OpenPage) -> None:
    browser = await open_page()
    sent = await browser.get("/login/oidc")
    sealed = sent.headers["set-cookie"].partition("llava_oidc=")[2].partition(";")[0]
    browser.cookies.set("llava_session", sealed)
    assert (await browser.get("/", headers=HTML)).headers["location"].startswith("/login")


@pytest.mark.parametrize("allowed", ["*", "alice@example.com", "other.org,example.com"])
async def test_who_is_allowed_is_let_in(open_page: OpenPage, allowed: str) -> None:
    assert (await sign_in(await open_page(oidc_allow=allowed))).status_code == 303


@pytest.mark.parametrize(
    ("allowed", "claims"),
    [
        ("other.org", {}),
        ("bob@example.com", {}),
        ("ample.com", {}),
        ("example.com", {"email_verified": False}),
        ("example.com", {"email_verified": None}),
        ("example.com", {"email": None}),
        ("example.com", {"email": "eve@example.com@evil.org"}),
    ],
)
async def test_who_is_not_allowed_is_told_so(
    open_page: OpenPage, provider: Provider, allowed: str, claims: dict[str, Any]
) -> None:
    provider.claims = ALICE | claims
    browser = await open_page(oidc_allow=allowed)
    refused = await sign_in(browser)
    assert refused.status_code == 403
    assert "The account that you signed in with may not use this page." in refused.text
    assert (await browser.get("/", headers=HTML)).status_code == 303


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "another"},
        {"aud": "another"},
        {"iss": "https://another.example"},
        {"exp": 1_000_000_000},
        {"sub": None},
    ],
)
async def test_an_id_token_that_is_not_for_this_is_refused(
    open_page: OpenPage, provider: Provider, wrong: dict[str, Any]
) -> None:
    provider.token_claims = wrong
    refused = await sign_in(await open_page(oidc_allow="*"))
    assert refused.status_code == 502
    assert "did not answer as expected" in refused.text


async def test_an_id_token_of_another_key_is_refused(
    open_page: OpenPage, provider: Provider
) -> None:
    provider.signs_with = RSAKey.generate_key(2048, {"kid": "one"})
    assert (await sign_in(await open_page())).status_code == 502


async def test_a_provider_that_says_it_is_another_is_refused(
    open_page: OpenPage, provider: Provider
) -> None:
    provider.metadata = {"issuer": "https://another.example"}
    assert (await sign_in(await open_page())).status_code == 502


async def test_an_answer_that_this_browser_did_not_ask_for_is_refused(open_page: OpenPage) -> None:
    mine, theirs = await open_page(), await open_page()
    sent = await theirs.get("/login/oidc")
    at_provider = await theirs.get(sent.headers["location"])
    back = urlsplit(at_provider.headers["location"])
    refused = await mine.get(f"{back.path}?{back.query}")
    assert refused.status_code == 502
    assert "llava_session" not in refused.headers["set-cookie"]


async def test_what_the_provider_refuses_is_told(open_page: OpenPage) -> None:
    browser = await open_page()
    await browser.get("/login/oidc")
    refused = await browser.get("/login/oidc/back?error=access_denied&error_description=<b>no")
    assert refused.status_code == 502 and "<b>" not in refused.text


async def test_a_provider_that_is_away_is_told(open_page: OpenPage) -> None:
    browser = await open_page(oidc_issuer="http://127.0.0.1:9")
    refused = await browser.get("/login/oidc")
    assert refused.status_code == 502 and "did not answer as expected" in refused.text


async def test_a_user_is_the_provider_s_subject_whatever_their_address(
    provider: Provider, tmp_path: Path
) -> None:
    logins = LoginSessions.of(config_of(provider, tmp_path), tmp_path)
    assert logins is not None
    alice = logins.key.user(f"{provider.issuer}#42", "alice@example.com", "alice@example.com")
    assert logins.method.admits(alice)
    assert not logins.method.admits(replace(alice, stamp="alice@other.org"))
    assert not logins.method.admits(replace(alice, owner="https://another.example#42"))


async def test_users_whose_subjects_begin_alike_are_two(
    open_page: OpenPage, provider: Provider, tmp_path: Path
) -> None:
    found = []
    for end in "ab":
        provider.claims = ALICE | {"sub": "s" * 254 + end}
        browser = await open_page()
        await sign_in(browser)
        sealed = SessionKey.in_folder(tmp_path).open(browser.cookies["llava_session"], 60)
        found.append(sealed["content"]["owner"])
    assert len(set(found)) == 2
    assert all(len(each) <= 255 and each.startswith(f"{provider.issuer}#") for each in found)


async def test_an_address_that_is_not_verified_lets_nobody_in_later_either(
    open_page: OpenPage, provider: Provider
) -> None:
    provider.claims = ALICE | {"email_verified": False}
    anybody = await open_page(oidc_allow="*")
    assert (await sign_in(anybody)).status_code == 303
    stricter = await open_page(oidc_allow="example.com")
    stricter.cookies = anybody.cookies
    assert (await stricter.get("/", headers=HTML)).status_code == 303


def test_a_secret_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    config = config_of(Provider(ALICE, issuer="https://x.example"), tmp_path)
    (tmp_path / "secret").unlink()
    with pytest.raises(CommandError, match="--oidc-client-secret-file"):
        LoginSessions.of(config, tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        {"oidc_issuer": "https://x.example"},
        {"oidc_allow": "*"},
        {"auth_file": Path("users"), "oidc_issuer": "https://x.example"},
        {"public_address": "chat.example.com"},
    ],
)
def test_flags_that_lack_others_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--"):
        LoginConfig(**given)


def test_a_provider_beyond_this_machine_speaks_tls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https"):
        config_of(Provider(ALICE, issuer="http://x.example"), tmp_path)
