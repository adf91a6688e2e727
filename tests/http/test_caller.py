"""Who calls is known by a key or the cluster's token, and what each may see."""

import httpx
import pytest
from fastapi import FastAPI, Request

from llava_serve.api_key import ApiKey
from llava_serve.errors import KeyRefused
from llava_serve.http import serving
from llava_serve.http.access import Access, ApiGuard, Hosts
from llava_serve.http.body import BodyLimits
from llava_serve.http.caller import Caller, caller_of

STRANGER, HERE = "10.0.0.9", "127.0.0.1"
KEYS = {
    "user-key": ApiKey(id="u", name="alice"),
    "admin-key": ApiKey(id="a", name="root", role="admin"),
}
TOKEN = {"Authorization": "Bearer the-token"}
USER = {"Authorization": "Bearer user-key"}
ADMIN = {"x-api-key": "admin-key"}


async def find_key(text: str) -> ApiKey:
    if text not in KEYS:
        raise KeyRefused("unknown")
    return KEYS[text]


def client(caller: str = STRANGER, *, keys: bool = True) -> httpx.AsyncClient:
    app = FastAPI()
    access = Access(
        hosts=Hosts.of("0.0.0.0"), token="the-token", find_key=find_key if keys else None
    )
    app.add_middleware(ApiGuard, access=access)
    serving.prepare(app, BodyLimits(max_bytes=1000))

    @app.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def ask(request: Request) -> dict[str, object]:
        who = caller_of(request)
        return {"owner": who.owner, "is_admin": who.is_admin, "key": who.key and who.key.name}

    transport = httpx.ASGITransport(app, client=(caller, 5))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:10000")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/list_models", "/v1/models", "/nothing"])
async def test_where_keys_are_asked_for_nothing_is_answered_without_one(path: str) -> None:
    async with client(HERE) as http:
        for headers, code in (
            ({}, "missing_api_key"),
            ({"Authorization": "Basic user-key"}, "missing_api_key"),
            ({"Authorization": "Bearer EMPTY"}, "invalid_api_key"),
            ({"x-api-key": ""}, "invalid_api_key"),
        ):
            answer = await http.post(path, json={}, headers=headers)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (401, code)
            assert error["type"] == "authentication_error"
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("headers", "owner"),
    [(USER, "u"), (ADMIN, "a"), (TOKEN, "insider"), ({"x-api-key": "the-token"}, "insider")],
)
async def test_a_good_key_and_the_token_open_it(headers: dict[str, str], owner: str) -> None:
    async with client() as http:
        answer = await http.post("/v1/chat/completions", json={}, headers=headers)
        assert answer.json()["owner"] == owner


async def test_who_shows_a_key_may_use_any_name() -> None:
    async with client() as http:
        headers = {"Host": "llava.example.com"}
        assert (await http.get("/v1/models", headers=headers | USER)).status_code == 200
        assert (await http.get("/health", headers=headers | USER)).status_code == 400


@pytest.mark.parametrize(
    "path", ["/health", "/register_worker", "/receive_heart_beat", "/deregister_worker"]
)
async def test_health_and_registration_take_no_key(path: str) -> None:
    async with client() as http:
        for headers in ({}, {"Authorization": "Bearer EMPTY"}):
            assert (await http.post(path, json={}, headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/workers", "/docs", "/openapi.json"])
async def test_what_shows_the_inside_is_for_admins_insiders_and_this_machine(path: str) -> None:
    async with client() as http:
        for headers, status in ((ADMIN, 200), (TOKEN, 200), (USER, 403), ({}, 401)):
            assert (await http.get(path, headers=headers)).status_code == status
    async with client(HERE) as http:
        assert (await http.get(path)).status_code == 200
        behind_proxy = {"X-Forwarded-For": STRANGER}
        assert (await http.get(path, headers=behind_proxy)).status_code == 401


async def test_where_no_key_is_asked_for_any_is_as_good_as_none() -> None:
    async with client(keys=False) as http:
        for headers in ({}, {"Authorization": "Bearer EMPTY"}, USER):
            answer = await http.get("/v1/models", headers=headers)
            assert answer.json() == {"owner": STRANGER, "is_admin": False, "key": None}


@pytest.mark.parametrize(
    ("headers", "owner"),
    [
        (TOKEN, "insider/7f.-_"),
        (ADMIN, "a/7f.-_"),
        (USER, "u"),  # who could else take the places of others
    ],
)
async def test_only_insiders_and_admins_speak_for_users(
    headers: dict[str, str], owner: str
) -> None:
    async with client() as http:
        answer = await http.get("/v1/models", headers=headers | {"X-Llava-User": "7f.-_"})
        assert answer.json()["owner"] == owner


@pytest.mark.parametrize("user", ["", "a b", "a" * 65, "a/b", "0x 1"])
async def test_a_user_that_is_no_plain_name_is_nobody(user: str) -> None:
    async with client() as http:
        answer = await http.get("/v1/models", headers=TOKEN | {"X-Llava-User": user})
        assert answer.json()["owner"] == "insider"


def test_an_insider_is_an_admin_and_a_stranger_is_none() -> None:
    assert Caller(is_insider=True).is_admin
    assert not Caller(address=HERE).is_admin
