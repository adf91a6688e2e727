"""What a foreign web page, or a stranger, cannot have from a server, and what everybody can."""

import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from llava_serve.http import access, serving
from llava_serve.http.access import Access, ApiGuard, HostGuard, Hosts
from llava_serve.http.body import BodyLimits

LOCAL = Hosts.of("127.0.0.1")
NETWORK = Hosts.of("0.0.0.0", own=["gpu.example.com"])
NAMED = Hosts.of("127.0.0.1", allowed=["Chat.example.com", ".example.org"])
TOKEN = {"Authorization": "Bearer the-token"}
STRANGER, HERE = "10.0.0.9", "127.0.0.1"


@pytest.mark.parametrize(
    ("hosts", "host", "is_served"),
    [
        (LOCAL, "localhost:10000", True),
        (LOCAL, "LOCALHOST.", True),
        (LOCAL, "llava.localhost:1", True),
        (LOCAL, "127.0.0.1:10000", True),
        (LOCAL, "[::1]:10000", True),
        (LOCAL, "192.168.1.7", True),
        (LOCAL, "", True),
        (LOCAL, "evil.example.com", False),
        (LOCAL, "localhost.evil.com", False),
        (LOCAL, "notlocalhost", False),
        (LOCAL, "127.0.0.1.evil.com", False),
        (LOCAL, "controller:10000", False),
        (NETWORK, "controller:10000", True),
        (NETWORK, "controller.llava.svc.cluster.local", True),
        (NETWORK, "gpu.example.com:40000", True),
        (NETWORK, socket.gethostname(), True),
        (NETWORK, "evil.com", False),
        (NETWORK, "x.gpu.example.com", False),
        (NAMED, "chat.example.com:443", True),
        (NAMED, "a.b.example.org", True),
        (NAMED, "example.org", False),
        (NAMED, "evilexample.org", False),
        (Hosts.of("0.0.0.0", allowed=["*"]), "any.thing", True),
        (Hosts.of("chat.example.net"), "chat.example.net:1", True),
    ],
)
def test_a_name_is_served_unless_a_stranger_could_own_it(
    hosts: Hosts, host: str, is_served: bool
) -> None:
    assert hosts.serves(host) is is_served


def app(guard: type[HostGuard], rights: Access) -> FastAPI:
    app = FastAPI()
    app.add_middleware(guard, access=rights)
    serving.prepare(app, BodyLimits(max_bytes=1000))

    @app.post("/ask")
    async def ask(body: dict[str, int] | None = None) -> dict[str, int]:
        return body or {}

    @app.get("/metrics")
    async def metrics() -> str:
        return "shown"

    @app.get("/health")
    async def health() -> str:
        return "ok"

    return app


def client(
    rights: Access, caller: str = HERE, guard: type[HostGuard] = ApiGuard
) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app(guard, rights), client=(caller, 5))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:10000")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client(Access(hosts=LOCAL, token="the-token")) as http:
        yield http


def code(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, error["code"]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/nothing"])
async def test_a_foreign_name_is_refused_on_every_route(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers={"Host": "evil.example.com"})
    assert code(answer) == (400, "host_refused")
    assert "--allowed-hosts" in answer.json()["error"]["remedy"]


async def test_two_names_must_both_be_served(http: httpx.AsyncClient) -> None:
    answer = await http.get("/health", headers=[("Host", "localhost"), ("Host", "evil.com")])
    assert code(answer) == (400, "host_refused")


async def test_who_shows_the_token_may_use_any_name(http: httpx.AsyncClient) -> None:
    answer = await http.post("/ask", json={}, headers={"Host": "a.example.com"} | TOKEN)
    assert answer.status_code == 200


@pytest.mark.parametrize("token", [None, "other"])
async def test_without_a_cluster_no_token_opens_anything(token: str | None) -> None:
    async with client(Access(hosts=LOCAL, token=token)) as http:
        for shown in ("Bearer ", "Bearer None", "Bearer the-token", ""):
            headers = {"Host": "evil.com", "Authorization": shown}
            assert (await http.get("/health", headers=headers)).status_code == 400


async def test_a_page_checks_names_and_origins_alone() -> None:
    async with client(Access(hosts=LOCAL), STRANGER, HostGuard) as http:
        assert (await http.get("/health", headers={"Host": "evil.com"})).status_code == 400
        assert (await http.get("/metrics")).status_code == 200
        origins = {"http://localhost:10000": 404, "http://evil.com": 403, "http://[::1": 403}
        for origin, status in origins.items():
            sent = await http.post("/nothing", data={"a": "b"}, headers={"Origin": origin})
            assert sent.status_code == status


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/problem+json", 200),
        ("text/plain", 415),
        ("text/plain;application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        (None, 415),
    ],
)
async def test_a_body_that_is_not_declared_as_json_is_refused(
    http: httpx.AsyncClient, kind: str | None, status: int
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await http.post("/ask", content=b'{"a": 1}', headers=headers)
    assert answer.status_code == status
    if status == 415:
        assert code(answer) == (415, "content_type_refused")


async def test_a_body_in_chunks_is_a_body_too(http: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    assert (await http.post("/ask", content=chunks())).status_code == 415


async def test_a_post_without_a_body_needs_no_content_type(http: httpx.AsyncClient) -> None:
    answer = await http.post("/ask")
    assert answer.request.headers["content-length"] == "0"
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:10000", 200),
        ("https://localhost:10000", 200),  # a proxy speaks TLS for this server
        ("https://chat.example.com", 200),
        ("http://localhost:7860", 403),
        ("http://evil.com", 403),
        ("null", 403),
        ("chrome-extension://abc", 403),
    ],
)
async def test_a_page_of_another_host_may_not_ask_but_may_look(origin: str, status: int) -> None:
    async with client(Access(hosts=NAMED)) as http:
        answer = await http.post("/ask", headers={"Origin": origin})
        assert answer.status_code == status
        if status == 403:
            assert code(answer) == (403, "origin_refused")
        looked = await http.get("/health", headers={"Origin": origin})
        assert looked.status_code == 200
        assert "access-control-allow-origin" not in looked.headers  # so nothing is seen


PRIVATE = ["/metrics", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"]


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize(
    ("caller", "headers", "is_public", "is_shown"),
    [
        (HERE, {}, False, True),
        ("::ffff:127.0.0.1", {}, False, True),
        ("::1", {}, False, True),
        (STRANGER, {}, False, False),
        (STRANGER, TOKEN, False, True),
        (STRANGER, {"Authorization": "Bearer other"}, False, False),
        (STRANGER, {}, True, True),
        (HERE, {"X-Forwarded-For": STRANGER}, False, False),
        (HERE, {"Forwarded": f"for={STRANGER}"}, False, False),
    ],
)
async def test_what_shows_the_inside_is_for_insiders(
    path: str, caller: str, headers: dict[str, str], is_public: bool, is_shown: bool
) -> None:
    rights = Access(hosts=LOCAL, token="the-token", is_public=is_public)
    async with client(rights, caller) as http:
        answer = await http.get(path, headers=headers)
        assert (answer.status_code == 200) is is_shown
        if not is_shown:
            assert code(answer) == (403, "for_insiders")
        assert (await http.get("/health", headers=headers)).status_code == 200


def test_a_path_that_no_app_has_is_not_listed() -> None:
    assert set(PRIVATE) | {"/workers"} == access._FOR_INSIDERS
