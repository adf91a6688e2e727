"""No route of the page tells the names of a battle's models before its vote."""

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from llava_serve.http import serving
from llava_serve.web.app import build_app
from llava_serve.web.arena.handlers import ArenaHandlers
from llava_serve.web.chat_state import ChatState
from llava_serve.web.sessions import Known, Place
from tests.web.arena.conftest import Cluster
from tests.web.conftest import MakeServices, settled

NAMES = ("secret-one", "secret-two")


@pytest.fixture
async def http(cluster: Cluster, make_services: MakeServices) -> AsyncIterator[httpx.AsyncClient]:
    await cluster.join(*NAMES)
    services = make_services(cluster.address)
    page = build_app(services)
    async with (
        serving.served(page.app, page.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=120) as client,
    ):
        await services.link.poll()
        await client.get("/")  # for its cookie
        yield client


async def fought(cluster: Cluster, http: httpx.AsyncClient) -> tuple[ArenaHandlers, Place]:
    """Let two models meet in a conversation of the client's browser."""
    browser = hashlib.sha256(http.cookies["llava_browser"].encode()).hexdigest()
    handlers = ArenaHandlers(cluster.services)
    place = Place(ChatState("arena", browser=browser), Known())
    await handlers.submit(place, {"text": "which?", "files": []}, "")
    await settled(place.conversation)
    return handlers, place


async def answers(http: httpx.AsyncClient, name: str) -> dict[str, httpx.Response]:
    """Return what each route that knows conversations says of one."""
    place = {"id": name, "exchange": 0, "slot": 0}
    difference = {"exchange": 0, "one": 0, "other": 1}
    return {
        "transcript": await http.post("/transcript", json={"id": name}),
        "list": await http.get("/conversations"),
        "json": await http.get(f"/conversations/{name}.json"),
        "html": await http.get(f"/conversations/{name}.html"),
        "inspection": await http.post("/inspection/answer", json=place),
        "tokens": await http.post("/inspection/tokens", json=place),
        "draft": await http.post("/inspection/draft", json={"id": name, "files": []}),
        "difference": await http.get(f"/comparisons/{name}/difference", params=difference),
    }


async def test_no_route_tells_a_name_before_the_vote(
    cluster: Cluster, http: httpx.AsyncClient
) -> None:
    _, place = await fought(cluster, http)
    told = await answers(http, place.conversation.id)
    assert {route: answer.status_code for route, answer in told.items()} == {
        "transcript": 200,
        "list": 200,
        "json": 409,
        "html": 409,
        "inspection": 409,
        "tokens": 409,
        "draft": 409,
        "difference": 200,
    }
    assert "which?" in told["transcript"].text and "which?" in told["list"].text
    everything = "".join(answer.text + str(answer.headers) for answer in told.values())
    assert [name for name in NAMES if name in everything] == []


async def test_after_the_vote_every_route_tells(cluster: Cluster, http: httpx.AsyncClient) -> None:
    handlers, place = await fought(cluster, http)
    await handlers.elect("a", place, "")
    told = await answers(http, place.conversation.id)
    assert {answer.status_code for answer in told.values()} == {200}
    for route in ("transcript", "json", "html"):
        assert all(name in told[route].text for name in NAMES), route
