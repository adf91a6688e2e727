"""A page whose worker's requests are written down, and a conversation on it."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http import serving
from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.media.reader import MediaReader
from llava_serve.web.app import build_app
from llava_serve.web.chat_service import ChatService, Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.parameters import Parameters
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.web.conftest import MakeServices, settled

SignIn = Callable[[str], Coroutine[Any, Any, httpx.AsyncClient]]
Bodies = dict[str, list[dict[str, Any]]]


class Recorder:
    """Middleware that keeps the bodies of requests by their paths.

    Inspections of models that are `stuck` end when whoever asked has left.
    """

    def __init__(self, app: ASGIApp, bodies: Bodies, stuck: set[str]) -> None:
        self._app, self._bodies, self._stuck = app, bodies, stuck

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = b""

        async def received() -> Message:
            nonlocal held
            message = await receive()
            held += message.get("body", b"")
            if message["type"] == "http.request" and not message.get("more_body") and held:
                body, held = json.loads(held), b""
                self._bodies.setdefault(scope["path"], []).append(body)
                if scope["path"] == "/v1/inspect" and body["model"] in self._stuck:
                    message = await receive()
            return message

        await self._app(scope, received, send)


@dataclass
class Asked:
    """A page with a conversation; `bodies` are those that its worker got.

    The worker never tells what the models see that are `stuck`.
    """

    services: Services
    http: httpx.AsyncClient
    bodies: Bodies
    stuck: set[str]
    upload_folder: Path
    conversation: ChatState = field(default_factory=ChatState)

    async def ask(self, text: str, parameters: Parameters, *files: str, models: int = 1) -> None:
        paths = [str(self.upload_folder / name) for name in files]
        message = {"text": text, "files": paths}
        service = ChatService(self.services)
        assert await service.accept(self.conversation, message, ["echo"] * models, parameters)
        await settled(self.conversation)

    async def resume(self, parameters: Parameters) -> None:
        await ChatService(self.services).resume(self.conversation, parameters)
        await settled(self.conversation)

    async def saw(self, exchange: int, slot: int = 0) -> httpx.Response:
        place = {"id": self.conversation.id, "exchange": exchange, "slot": slot}
        return await self.http.post("/inspection/answer", json=place)


@pytest.fixture
async def asked(
    engine: EchoEngine, make_services: MakeServices, upload_folder: Path
) -> AsyncIterator[Asked]:
    for name, size in (("dot.png", (6, 4)), ("wide.png", (40, 10))):
        Image.new("RGB", size, (200, 0, 0)).save(upload_folder / name)
    worker = ModelWorker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id="one")
    app, bodies, stuck = build_worker(worker, max_body_bytes=1_000_000), Bodies(), set[str]()
    app.add_middleware(Recorder, bodies=bodies, stuck=stuck)
    async with AsyncExitStack() as stack:
        services = make_services(await stack.enter_async_context(serving.served(app)))
        page = build_app(services)
        address = await stack.enter_async_context(serving.served(page.app, page.before_stop))
        http = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
        await stack.enter_async_context(http)
        yield Asked(services, http, bodies, stuck, upload_folder)


@pytest.fixture
async def sign_in(
    controller: str, make_services: MakeServices, tmp_path: Path
) -> AsyncIterator[SignIn]:
    """Open browsers of alice and bob, on a page where everybody signs in."""
    names = ("alice", "bob")
    write_users(tmp_path / "users", {name: hashed(f"{name} knows", 4) for name in names})
    logins = LoginSessions.of(LoginConfig(auth_file=tmp_path / "users"), tmp_path)
    page = build_app(replace(make_services(controller), logins=logins))
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving.served(page.app, page.before_stop))

        async def signed_in(name: str) -> httpx.AsyncClient:
            client = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
            await stack.enter_async_context(client)
            form = {"name": name, "password": f"{name} knows", "next": "/"}
            answer = await client.post("/login", data=form, headers={"Origin": address})
            assert answer.status_code == 303
            return client

        yield signed_in
