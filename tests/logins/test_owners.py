"""Conversations, pictures and uploads belong to who has signed in."""

import io
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from PIL import Image
from starlette.datastructures import Headers

from llava_serve.http import serving
from llava_serve.http.caller import USER_HEADER, Caller
from llava_serve.login_config import LoginConfig
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.protocol.model_card import ModelList
from llava_serve.storage.store import Store
from llava_serve.web.app import build_app
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.examples import ExampleQuestion
from tests.cluster.conftest import status_of
from tests.logins.conftest import sign_in
from tests.web.conftest import MakeServices

CONTROLS = [0.2, 1.0, 512, None, "", False]


@dataclass
class Browser:
    """A browser tab on the page."""

    http: httpx.AsyncClient
    store: Store
    events: dict[str, int] = field(default_factory=dict)
    tab: str = "the same for all"

    async def call(self, event: str, *values: Any, chat: str = "") -> str:
        """Call an event of the chat tab, which shows the conversation `chat`; return the answer."""
        if not self.events:
            for one in (await self.http.get("/config")).json()["dependencies"]:
                for _, name in one["targets"]:
                    self.events.setdefault(name, one["id"])
        body = {"fn_index": self.events[event], "data": list(values), "session_hash": self.tab}
        params = {"chat": chat} if chat else {}
        answer = await self.http.post("/gradio_api/run/predict", json=body, params=params)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def ask(self, text: str, *files: str) -> str:
        """Ask a question; return the conversation's id once it is answered."""
        named = [{"path": name, "meta": {"_type": "gradio.FileData"}} for name in files]
        await self.call("tick")  # which chooses a model
        said = await self.call("submit", {"text": text, "files": named}, *CONTROLS)
        (found,) = set(re.findall(r'\\"id\\": \\"([0-9a-f]{32})', said))
        await self.transcript(found)
        return str(found)

    async def transcript(self, conversation: str) -> httpx.Response:
        return await self.http.post("/transcript", json={"id": conversation})

    async def upload(self, color: str) -> str:
        drawn = io.BytesIO()
        Image.new("RGB", (4, 4), color).save(drawn, "PNG")
        files = [("files", ("dot.png", drawn.getvalue()))]
        (name,) = (await self.http.post("/gradio_api/upload", files=files)).json()
        return str(name)


@dataclass
class Page:
    alice: Browser
    bob: Browser
    services: Services
    example: str


@pytest.fixture
async def page(services: Services, auth_file: Path, tmp_path: Path) -> AsyncIterator[Page]:
    async with served(services, auth_file, tmp_path) as page:
        yield page


@asynccontextmanager
async def served(services: Services, auth_file: Path, tmp_path: Path) -> AsyncIterator[Page]:
    logins = LoginSessions.of(LoginConfig(auth_file=auth_file), tmp_path)
    Image.new("RGB", (4, 4), "green").save(tmp_path / "green.png")
    example = services.media.put(tmp_path / "green.png")
    app = build_app(
        replace(services, logins=logins), examples=(ExampleQuestion("what?", (example,)),)
    )
    async with serving.served(app.app, app.before_stop) as address, AsyncExitStack() as stack:

        async def browser(name: str) -> Browser:
            client = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
            http = await stack.enter_async_context(client)
            await sign_in(http, name)
            return Browser(http, services.store)

        yield Page(await browser("alice"), await browser("bob"), services, example.filename)


async def test_a_conversation_is_there_for_its_user_alone(page: Page) -> None:
    conversation = await page.alice.ask("a secret")
    assert "a secret" in (await page.alice.transcript(conversation)).text
    refused = await page.bob.transcript(conversation)
    unknown = await page.bob.transcript("0" * 32)
    assert refused.status_code == unknown.status_code == 404
    assert refused.json()["error"] | {"request_id": ""} == unknown.json()["error"] | {
        "request_id": ""
    }
    row = page.services.store.conversation(conversation)
    assert row is not None and row.owner == "alice"


async def test_the_name_of_another_s_tab_gives_nothing_of_it(page: Page) -> None:
    conversation = await page.alice.ask("a secret")
    assert page.bob.tab == page.alice.tab
    assert conversation not in await page.bob.call("tick")
    assert conversation in await page.alice.call("tick")


async def test_a_link_shows_the_conversation_to_its_user_alone(page: Page) -> None:
    conversation = await page.alice.ask("a secret")
    page.alice.tab = page.bob.tab = "another"
    assert conversation in await page.alice.call("tick", chat=conversation)
    assert conversation not in await page.bob.call("tick", chat=conversation)


async def test_a_picture_is_there_for_who_has_asked_about_it(page: Page) -> None:
    await page.alice.ask("what?", await page.alice.upload("red"))
    (row,) = page.services.store.conversations()
    (file,) = row.turns[0].media
    path = f"/media/{file.sha256}.{file.extension}"
    mine = await page.alice.http.get(path)
    assert mine.status_code == 200
    assert mine.headers["cache-control"].startswith("private,")
    refused, unknown = (
        await page.bob.http.get(path),
        await page.bob.http.get(f"/media/{'0' * 64}.png"),
    )
    assert refused.status_code == unknown.status_code == 404
    codes = [answer.json()["error"]["code"] for answer in (refused, unknown)]
    assert codes == ["no_such_route", "no_such_route"]
    await page.bob.ask("mine too", await page.bob.upload("red"))
    assert (await page.bob.http.get(path)).status_code == 200


async def test_an_example_s_picture_is_for_everybody(page: Page) -> None:
    for browser in (page.alice, page.bob):
        assert (await browser.http.get(f"/media/{page.example}")).status_code == 200


async def test_an_upload_is_its_user_s_alone(page: Page) -> None:
    name = await page.alice.upload("red")
    assert (await page.alice.http.get(f"/gradio_api/file={name}")).status_code == 200
    assert (await page.bob.http.get(f"/gradio_api/file={name}")).status_code == 400
    bare = "/".join(("uploads", *name.split("/")[2:]))
    assert (await page.bob.http.get(f"/gradio_api/file={bare}")).status_code == 400


async def test_the_controller_can_tell_users_apart_and_not_who_they_are(
    make_services: MakeServices, auth_file: Path, tmp_path: Path
) -> None:
    named: list[str] = []
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> ModelList:
        return ModelList(data=status_of("echo").cards)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        named.append(request.headers[USER_HEADER])
        return Response(status_code=503)

    async with serving.served(app) as controller:
        services = make_services(controller)
        async with services.link.opened():
            await services.link.poll()
        async with served(services, auth_file, tmp_path) as page:
            await page.alice.ask("one")
            await page.bob.ask("two")
            page.alice.tab = "another"
            await page.alice.ask("three")
    assert named[0] == named[2] != named[1]
    assert not {"alice", "bob"} & set(named)
    assert Caller.of({"type": "http"}, Headers({USER_HEADER: named[0]}), is_insider=True).user


def test_without_logins_it_can_tell_conversations_apart_and_not_read_them() -> None:
    one, other = ChatState(), ChatState()
    assert one.asks_as != other.asks_as
    assert one.id not in one.asks_as and one.cleared().asks_as != one.asks_as


async def test_without_logins_nothing_of_a_user_is_shown(page: Page) -> None:
    conversation = await page.alice.ask("a secret")
    open_page = build_app(replace(page.services, logins=None))
    async with (
        serving.served(open_page.app, open_page.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False) as http,
    ):
        assert (await http.post("/transcript", json={"id": conversation})).status_code == 404


async def test_who_has_signed_in_is_named_beside_the_way_out(page: Page) -> None:
    config = (await page.alice.http.get("/config")).json()
    (account,) = (
        one["id"] for one in config["components"] if one["props"].get("elem_id") == "account"
    )
    (event,) = (one["id"] for one in config["dependencies"] if one["outputs"] == [account])
    body = {"fn_index": event, "data": [], "session_hash": "s"}
    answer = await page.alice.http.post("/gradio_api/run/predict", json=body)
    assert "alice" in answer.text and "Sign out" in answer.text
