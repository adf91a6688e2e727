"""Pages of other origins are answered where an operator allowed them, and nowhere else."""

from collections.abc import Mapping

import httpx
import pytest
from fastapi import FastAPI

from llava_serve import args
from llava_serve.api_key import ApiKey
from llava_serve.config import ControllerConfig
from llava_serve.errors import KeyRefused
from llava_serve.http import serving
from llava_serve.http.access import Access, ApiGuard, Hosts
from llava_serve.http.body import BodyLimits
from llava_serve.http.cross_origin import Origins

CHAT, EVIL = "https://chat.example.com", "https://evil.example.net"
KEY = {"Authorization": "Bearer good"}
TOKEN = {"Authorization": "Bearer the-token"}
PREFLIGHT = {"Access-Control-Request-Method": "POST"}


async def find_key(text: str) -> ApiKey:
    if text != "good":
        raise KeyRefused("unknown")
    return ApiKey(id="u", name="alice")


def client(*origins: str, keys: bool = False) -> httpx.AsyncClient:
    app = FastAPI()
    access = Access(
        hosts=Hosts.of("127.0.0.1"),
        origins=Origins.of(origins),
        token="the-token",
        find_key=find_key if keys else None,
    )
    app.add_middleware(ApiGuard, access=access)
    serving.prepare(app, BodyLimits(max_bytes=1000), access.origins)

    @app.post("/ask")
    async def ask() -> str:
        return "answered"

    @app.post("/bug")
    async def bug() -> str:
        raise ZeroDivisionError

    @app.get("/workers")
    async def workers() -> str:
        return "shown"

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:10000")


def readable_by(answer: httpx.Response) -> str | None:
    shown: str | None = answer.headers.get("access-control-allow-origin")
    return shown


def listed(answer: httpx.Response, name: str) -> set[str]:
    return {one.strip() for one in answer.headers.get(name, "").split(",")} - {""}


@pytest.mark.parametrize("keys", [False, True])
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {},
    ],
)
@pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost:3000"])
async def test_a_page_of_another_origin_is_refused_with_or_without_a_key(
    keys: bool, headers: Mapping[str, str], origin: str
) -> None:
    for allowed in ((), (CHAT,)):
        async with client(*allowed, keys=keys) as http:
            shown = KEY if keys else {}
            sent = {**headers, **shown, "Origin": origin}
            answer = await http.post("/ask", content=b"{}", headers=sent)
            assert answer.json()["error"]["code"] == "origin_refused"
            assert "--cors-origin" in answer.json()["error"]["remedy"]
            assert readable_by(answer) is None


async def test_its_preflight_is_refused_too() -> None:
    for allowed in ((), (CHAT,)):
        async with client(*allowed) as http:
            answer = await http.options("/ask", headers=PREFLIGHT | {"Origin": EVIL})
            assert (answer.status_code, readable_by(answer)) == (403, None)


async def test_a_preflight_allows_what_the_clients_send() -> None:
    asked = [
        *("authorization", "content-type", "x-api-key", "anthropic-version"),
        *("anthropic-dangerous-direct-browser-access", "x-stainless-lang", "x-stainless-anything"),
    ]
    sent = {"Access-Control-Request-Headers": ", ".join([*asked, "x-llava-user", "cookie"])}
    async with client(CHAT, keys=True) as http:
        answer = await http.options("/ask", headers=PREFLIGHT | sent | {"Origin": CHAT})
    assert (answer.status_code, answer.content, readable_by(answer)) == (204, b"", CHAT)
    assert listed(answer, "access-control-allow-headers") == set(asked)
    assert "POST" in listed(answer, "access-control-allow-methods")
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("allowed", "origin", "shown"),
    [
        (CHAT, CHAT, CHAT),
        ("*", EVIL, "*"),
        ("*", "null", "*"),
        ("app://one", "app://one", "app://one"),
    ],
)
async def test_an_allowed_page_reads_answers_and_their_headers(
    allowed: str, origin: str, shown: str
) -> None:
    async with client(allowed, keys=True) as http:
        answer = await http.post("/ask", json={}, headers=KEY | {"Origin": origin})
    assert (answer.json(), readable_by(answer)) == ("answered", shown)
    exposed = listed(answer, "access-control-expose-headers")
    assert {"x-request-id", "retry-after", "x-ratelimit-remaining-tokens"} <= exposed
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/ask", {}, 401),
        ("/ask", {"Authorization": "Bearer bad"}, 401),
        ("/ask", KEY | {"Content-Type": "text/plain"}, 415),
        ("/nothing", KEY, 404),
        ("/bug", KEY, 500),
    ],
)
async def test_an_allowed_page_reads_errors_too(
    path: str, headers: Mapping[str, str], status: int
) -> None:
    sent = {"Content-Type": "application/json", "Origin": CHAT, **headers}
    async with client(CHAT, keys=True) as http:
        answer = await http.post(path, content=b"{}", headers=sent)
    assert (answer.status_code, readable_by(answer)) == (status, CHAT)
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


async def test_an_allowed_page_must_declare_its_body_as_json() -> None:
    async with client("*") as http:
        headers = {"Origin": CHAT, "Content-Type": "text/plain"}
        answer = await http.post("/ask", content=b"{}", headers=headers)
    assert (answer.status_code, readable_by(answer)) == (415, "*")


async def test_programs_go_on_as_before() -> None:
    async with client(keys=True) as http:
        for headers in (
            KEY,
            KEY | {"Content-Type": "application/x-www-form-urlencoded"},
            KEY | {"Origin": "app://obsidian.md", "Content-Type": "application/json"},
            KEY | {"Origin": "http://localhost:10000", "Content-Type": "application/json"},
            TOKEN | {"Origin": EVIL},
        ):
            answer = await http.post("/ask", content=b"{}", headers=headers)
            assert (answer.status_code, readable_by(answer)) == (200, None)


async def test_a_program_without_a_key_is_a_page_like_any_other() -> None:
    async with client() as http:
        answer = await http.post("/ask", json={}, headers={"Origin": "app://obsidian.md"})
    assert answer.status_code == 403


async def test_a_page_in_a_browser_of_this_machine_is_no_insider() -> None:
    async with client("*") as http:
        assert (await http.get("/workers")).status_code == 200
        own = await http.get("/workers", headers={"Origin": "http://localhost:10000"})
        foreign = await http.get("/workers", headers={"Origin": EVIL})
    assert (own.status_code, foreign.status_code) == (200, 403)
    assert foreign.json()["error"]["code"] == "for_insiders"


@pytest.mark.parametrize(
    "flags",
    [
        ["--cors-origin", CHAT, "http://localhost:3000"],
        ["--cors-origin", f"{CHAT}/,http://localhost:3000"],
        ["--cors-origin", CHAT, "--cors-origin", "http://localhost:3000"],
    ],
)
def test_the_flag_takes_several_origins(flags: list[str]) -> None:
    config = args.parse(ControllerConfig, flags)
    assert config.origins == (CHAT, "http://localhost:3000")
    assert args.parse(ControllerConfig, []).origins == ()
    assert args.parse(ControllerConfig, ["--cors-origin", "*"]).origins == ("*",)


@pytest.mark.parametrize("origin", ["chat.example.com", "https://a.b/path", "https://u@a.b", "//a"])
def test_what_is_no_origin_is_refused(origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        args.parse(ControllerConfig, ["--cors-origin", origin])
    assert "--cors-origin takes origins" in capsys.readouterr().err
