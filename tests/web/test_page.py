"""What Gradio does with the page's events: sessions, limits, failures."""

import inspect
import json
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.routes import App
from starlette.routing import Mount

from llava_serve.errors import EngineFailure, StorageFailed
from llava_serve.http import serving
from llava_serve.web import page
from llava_serve.web.app import Page, build_app
from llava_serve.web.chat_service import Services
from llava_serve.web.event_binder import told
from llava_serve.web.translations.error_text import error_text
from tests.web.conftest import MakeServices

CONTROLS = [0.2, 1.0, 512, None, "", False]


@pytest.fixture
def alone(make_services: MakeServices, controller: str) -> Services:
    return make_services(controller)


@pytest.fixture
async def blocks(make_services: MakeServices) -> gr.Blocks:
    return page.build(make_services("http://127.0.0.1:9"), (), embed=False).blocks


@pytest.fixture
async def built(alone: Services) -> Page:
    return build_app(alone)


@pytest.fixture
async def http(alone: Services, built: Page) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving.served(built.app, built.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=120) as client,
    ):
        await alone.link.poll()
        await call(client, "load")
        yield client


async def call(
    http: httpx.AsyncClient,
    event: str,
    *data: Any,
    session: str | None = "mine",
    address: str = "",
) -> httpx.Response:
    """Do as a browser does at the chat tab's first event of a name."""
    dependencies = (await http.get("/config")).json()["dependencies"]
    number = next(
        one["id"] for one in dependencies if any(name == event for _, name in one["targets"])
    )
    body = {"data": list(data), "fn_index": number, "session_hash": session}
    return await http.post(f"/gradio_api/run/predict{address}", json=body)


async def signal(http: httpx.AsyncClient, **tab: str) -> dict[str, Any]:
    """Return what the chat tab is told of its conversation."""
    data = (await call(http, "tick", **tab)).json()["data"]
    found: dict[str, Any] = json.loads(data[-3])
    return found


async def shown(http: httpx.AsyncClient, **tab: str) -> str:
    """Return all that the chat's transcript tells, until it is quiet."""
    return (await http.post("/transcript", json={"id": (await signal(http, **tab))["id"]})).text


def question(text: str) -> dict[str, Any]:
    return {"text": text, "files": []}


async def test_nothing_of_the_page_runs_on_gradios_threads(blocks: gr.Blocks) -> None:
    """A conversation belongs to the event loop, and so do the tasks that a Stop cancels."""
    for one in blocks.fns.values():
        if one.fn is None:  # it runs in the browser
            continue
        assert inspect.iscoroutinefunction(one.fn) or inspect.isasyncgenfunction(one.fn), one.name


async def test_a_conversation_outlives_what_gradio_keeps_of_its_tab(
    http: httpx.AsyncClient, built: Page
) -> None:
    """Gradio forgets a tab an hour after its connection was interrupted, though it is open."""
    await call(http, "submit", question("one word"), *CONTROLS)
    (gradio,) = (
        route.app
        for route in built.app.routes
        if isinstance(route, Mount) and isinstance(route.app, App)
    )
    gradio.state_holder.session_data.clear()
    await call(http, "submit", question("another"), *CONTROLS)
    assert "one word" in await shown(http)


async def test_two_tabs_share_nothing(http: httpx.AsyncClient) -> None:
    await call(http, "submit", question("a secret"), *CONTROLS)
    await call(http, "load", session="other")
    await call(http, "submit", question("hello"), *CONTROLS, session="other")
    other = await shown(http, session="other")
    assert "hello" in other and "a secret" not in other


async def test_a_tab_that_the_server_does_not_know_finds_its_conversation(
    http: httpx.AsyncClient,
) -> None:
    await call(http, "submit", question("one word"), *CONTROLS)
    known = (await signal(http))["id"]
    reply = await call(http, "tick", session="from before", address=f"?chat={known}")
    assert known in reply.text


async def test_an_address_that_names_nothing_says_so_and_stays(http: httpx.AsyncClient) -> None:
    stranger = {"session": "stranger", "address": "?chat=" + "0" * 32}
    assert (await signal(http, **stranger))["address"] is None
    assert "keeps no conversation under this address" in await shown(http, **stranger)


async def test_a_conversation_of_one_kind_is_none_of_the_other(http: httpx.AsyncClient) -> None:
    await call(http, "submit", question("one word"), *CONTROLS)
    known = (await signal(http))["id"]
    reply = await call(http, "tick", session="other", address=f"?compare={known}")
    assert known not in reply.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"id": "0" * 32}, 404, id="unknown"),
        pytest.param({}, 400, id="no id"),
        pytest.param({"id": "0" * 65}, 400, id="long"),
        pytest.param({"id": "0" * 32, "have": [1]}, 400, id="no marks"),
    ],
)
async def test_a_question_for_no_transcript_is_refused(
    http: httpx.AsyncClient, body: dict[str, Any], status: int
) -> None:
    reply = await http.post("/transcript", json=body)
    assert reply.status_code == status
    assert "error" in reply.json()


async def test_a_call_of_no_tab_is_refused(http: httpx.AsyncClient) -> None:
    reply = await call(http, "submit", question("hello"), *CONTROLS, session=None)
    assert reply.json()["error"].startswith("Session_hash: is missing")


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([None, None, None, None, "", False], id="deleted"),
        pytest.param([99, -1, 0, -1, "", False], id="out of range"),
    ],
)
async def test_any_numbers_reach_the_worker_with_the_question(
    http: httpx.AsyncClient, values: list[Any]
) -> None:
    """Gradio's own check would end the event that streams, with the question asked already."""
    await call(http, "submit", question("one word"), *values)
    assert "one word" in await shown(http)


def test_a_bug_is_logged_and_its_cause_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(gr.Error) as raised, told():
        raise KeyError("/home/operator/secret")
    assert "secret" in caplog.text
    assert "secret" not in raised.value.message
    assert EngineFailure.code in raised.value.message and "req-" in raised.value.message


def test_an_error_that_was_raised_on_purpose_is_told() -> None:
    with pytest.raises(gr.Error) as raised, told():
        raise StorageFailed("the disk is full")
    assert raised.value.message == error_text(StorageFailed("the disk is full")).whole
    assert "--state-dir" not in raised.value.message
