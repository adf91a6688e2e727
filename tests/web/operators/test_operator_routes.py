"""The routes for operators ask the controller, and refuse whoever is no operator, one by one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster_token import bearer
from llava_serve.http import serving
from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.web.app import build_app
from llava_serve.web.chat_service import Services
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.operators.rights import Operators
from llava_serve.web.translations.catalogue import Catalogue
from llava_serve.web.translations.language import Languages
from tests.cluster.conftest import TOKEN, status_of
from tests.web.conftest import MakeServices

WORKER = "http://10.0.0.1:40000"
EVERY_ROUTE = [
    ("GET", "/operators/cluster", None),
    ("POST", "/operators/drain", {"worker": WORKER}),
    ("POST", "/operators/undrain", {"worker": WORKER}),
    ("POST", "/operators/log-level", {"level": "debug"}),
]


@pytest.fixture
def workers() -> Registry:
    workers = Registry(shortest_queue)
    workers.register(WORKER, status_of("mine", "this-one"), now=0.0, expires=False)
    return workers


@pytest.fixture
async def controller(workers: Registry) -> AsyncIterator[str]:
    async with serving.served(build_controller(workers, AdmissionPolicy(TOKEN))) as address:
        yield address


def services_of(make_services: MakeServices, controller: str, token: str = TOKEN) -> Services:
    link = ControllerLink([controller], credentials=[lambda: bearer(token)])
    return replace(make_services(controller), link=link, operators=Operators(are_local=True))


@pytest.fixture
async def http(make_services: MakeServices, controller: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asked(services_of(make_services, controller)) as client:
        yield client


@asynccontextmanager
async def asked(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the page; yield a client of it."""
    page = build_app(services)
    async with (
        serving.served(page.app, page.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False) as client,
    ):
        yield client


async def test_the_cluster_is_shown_and_searched(http: httpx.AsyncClient) -> None:
    answer = await http.get("/operators/cluster")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert "10.0.0.1:40000" in answer.text
    answer = await http.get("/operators/cluster", params={"search": "a&count=0"})
    assert "No worker matches" in answer.text


async def test_a_worker_is_drained_and_put_back(http: httpx.AsyncClient, workers: Registry) -> None:
    for do, is_draining in (("drain", True), ("undrain", False)):
        answer = await http.post(f"/operators/{do}", json={"worker": WORKER})
        assert answer.status_code == 204
        assert workers.known()[0].is_draining is is_draining


async def test_what_the_controller_refuses_is_told_in_operators_words(
    http: httpx.AsyncClient, make_services: MakeServices, controller: str
) -> None:
    answer = await http.post("/operators/drain", json={"worker": "../cluster"})
    assert answer.status_code == 404
    assert "no worker has the id or the address '../cluster'" in answer.json()["error"]
    assert (await http.post("/operators/log-level", json={"level": "loud"})).status_code == 400
    async with asked(services_of(make_services, controller, "another token")) as other:
        answer = await other.get("/operators/cluster")
    assert answer.status_code == 403
    assert "role admin, or the cluster's token" in answer.json()["error"]


async def test_the_cluster_and_its_errors_are_told_in_the_language_of_the_browser(
    make_services: MakeServices, controller: str
) -> None:
    polish = Catalogue(
        "pl", "Polski", {"error.worker_not_found": "Nie ma.", "operators.answers": "Ile"}
    )
    services = services_of(make_services, controller)
    async with asked(replace(services, languages=Languages((polish,)))) as client:
        client.headers["Accept-Language"] = "pl"
        assert "<dt>Ile</dt>" in (await client.get("/operators/cluster")).text
        answer = await client.post("/operators/drain", json={"worker": "nobody"})
    assert answer.json()["error"].startswith("Nie ma. (no worker has the id")


@pytest.mark.parametrize(("method", "path", "body"), EVERY_ROUTE)
async def test_through_a_proxy_no_route_answers(
    http: httpx.AsyncClient, workers: Registry, method: str, path: str, body: object
) -> None:
    for headers in ({"X-Forwarded-For": "10.0.0.9"}, {"Host": "10.9.9.9"}):
        answer = await http.request(method, path, json=body, headers=headers)
        assert answer.status_code == 403
        assert "--local-admin" in answer.json()["error"]
    assert not workers.known()[0].is_draining


@pytest.mark.parametrize(("method", "path", "body"), EVERY_ROUTE)
async def test_without_operators_there_is_no_route(
    make_services: MakeServices, controller: str, method: str, path: str, body: object
) -> None:
    async with asked(make_services(controller)) as client:
        answer = await client.request(method, path, json=body)
        assert answer.status_code in (404, 405)
        assert "window.operators =" not in (await client.get("/")).text


@pytest.mark.parametrize(("method", "path", "body"), EVERY_ROUTE)
async def test_of_users_who_sign_in_only_those_that_are_named_are_answered(
    make_services: MakeServices,
    controller: str,
    workers: Registry,
    tmp_path: Path,
    method: str,
    path: str,
    body: object,
) -> None:
    write_users(tmp_path / "users", {name: hashed("secret word", 4) for name in ("alice", "bob")})
    config = LoginConfig(auth_file=tmp_path / "users", admins="alice")
    services = replace(
        services_of(make_services, controller),
        logins=LoginSessions.of(config, tmp_path),
        operators=Operators.of(config),
    )
    good = 200 if method == "GET" else 204
    async with asked(services) as client:
        for name, status in (("", 401), ("bob", 403), ("alice", good)):
            client.cookies.clear()
            if name:
                form = {"name": name, "password": "secret word"}
                await client.post("/login", data=form)
            answer = await client.request(method, path, json=body)
            assert (name, answer.status_code) == (name, status)
