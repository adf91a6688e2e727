"""Programs with `gradio_client` ask by the page's named endpoints, and are treated as its users."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError, AuthenticationError, ValidationError

from llava_serve.config import MediaConfig, ModelConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.http import serving
from llava_serve.login_config import LoginConfig
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.media.reader import MediaReader
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store, default_url
from llava_serve.web import uploads
from llava_serve.web.app import build_app
from llava_serve.web.attaching import MOST_FILES
from llava_serve.web.chat_service import Services
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.moderation import Moderation
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.logins.conftest import PASSWORDS, auth_file as auth_file
from tests.until import until
from tests.web.conftest import MakeServices
from tests.web.test_moderation import checked as checked, moderation as moderation

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "llava_serve" / "tiny" / "examples" / "red-circle.png"
BEFORE = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "one"}]
LONG = "word " * 300  # which the engine repeats for a while

MOST_BYTES = 1_000_000
SHARED = pytest.mark.asyncio(loop_scope="module")  # of those that share a page

# Gradio's client leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:'future.no_silent_downcasting'",  # Gradio's queue counts its calls with pandas
    "ignore:The copy keyword",
)


class Program:
    """What uses `gradio_client`, which blocks."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def ask(self, message: str, **values: Any) -> str:
        ask = self.client.predict
        return str(await asyncio.to_thread(ask, message, **values, api_name="/chat"))

    async def stream(self, message: str, **values: Any) -> list[str]:
        """Return every text so far."""
        submit = self.client.submit
        return await asyncio.to_thread(lambda: list(submit(message, **values, api_name="/chat")))


@dataclass
class Stack:
    """A worker with an echo engine, which speaks the wire of a controller, and a page of it."""

    engine: EchoEngine
    services: Services
    page: str
    program: Program


async def served_engine(stack: AsyncExitStack, engine: Engine) -> str:
    worker = ModelWorker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id="one")
    served = serving.served(build_worker(worker, max_body_bytes=MOST_BYTES))
    return str(await stack.enter_async_context(served))


async def open_page(stack: AsyncExitStack, services: Services) -> str:
    page = build_app(services)
    address = await stack.enter_async_context(serving.served(page.app, page.before_stop))
    await until(lambda: bool(services.link.cards), "the models")
    return str(address)


async def connected(stack: AsyncExitStack, address: str, **values: Any) -> Program:
    client = await asyncio.to_thread(
        lambda: Client(address, verbose=False, analytics_enabled=False, **values)
    )
    stack.push_async_callback(asyncio.to_thread, client.close)
    return Program(client)


def services_in(folder: Path, address: str) -> Services:
    store = Store(default_url(folder))
    store.create_tables()
    return Services(
        link=ControllerLink([address]),
        store=store,
        media=MediaStore(folder / "media", MOST_BYTES),
        moderation=None,
        max_body_bytes=MOST_BYTES,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("page")
    engine = EchoEngine("echo", delay_s=0.05)
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("GRADIO_TEMP_DIR", "")  # so that it is put back afterwards
        uploads.use_folder(folder / "uploads")
        services = services_in(folder, await served_engine(stack, engine))
        page = await open_page(stack, services)
        yield Stack(engine, services, page, await connected(stack, page))


@SHARED
async def test_what_is_offered_is_described_and_nothing_else_is_offered(served: Stack) -> None:
    told = served.program.client.view_api(
        print_info=False, return_format="dict", all_endpoints=True
    )
    assert isinstance(told, dict)
    assert set(told["named_endpoints"]) == {"/chat", "/models"} and not told["unnamed_endpoints"]
    chat = told["named_endpoints"]["/chat"]
    assert [one["parameter_name"] for one in chat["parameters"]] == [
        *("message", "images", "model", "system", "temperature", "top_p", "max_tokens", "seed"),
        "history",
    ]
    required = [one for one in chat["parameters"] if not one["parameter_has_default"]]
    assert [one["parameter_name"] for one in required] == ["message"]
    assert "filepath" in chat["parameters"][1]["python_type"]["type"]
    assert chat["returns"][0]["python_type"]["type"] == "str"
    assert await asyncio.to_thread(served.program.client.predict, api_name="/models") == ["echo"]


@SHARED
async def test_an_answer_streams_as_the_text_so_far(served: Stack) -> None:
    texts = await served.program.stream("What color is it?", images=handle_file(PICTURE))
    assert texts[-1].endswith("What color is it?") and texts[-1].startswith("[1 picture")
    assert len(texts) > 2
    assert all(later.startswith(text) for text, later in pairwise(texts))


@SHARED
async def test_what_was_said_before_and_the_parameters_reach_the_model_and_are_kept(
    served: Stack,
) -> None:
    files = [handle_file(PICTURE)] * 2
    answer = await served.program.ask(
        "now?", images=files, history=BEFORE, system="be brief", max_tokens=3, seed=7
    )
    assert answer.strip().startswith("[2 pictures") and "now" not in answer
    row = list(served.services.store.conversations())[-1]
    turns = [(turn.role, turn.text) for turn in row.turns]
    parameters = row.turns[-1].details["parameters"]
    assert [role for role, _ in turns] == ["user", "assistant"] * 2
    assert turns[:3] == [("user", "first"), ("assistant", "one"), ("user", "now?")]
    assert parameters["seed"] == 7 and parameters["system"] == "be brief"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": "none"}, "The model 'none' is not served here; served: echo. Choose one"),
    ({"message": " "}, "The question is empty. Type a question"),
    ({"temperature": "hot"}, "Temperature: Input should be a valid number"),
    ({"temperature": 9.0}, "emperature"),
    ({"images": "x"}, r"Images: takes files as .*handle_file\(PATH\)"),
    ({"images": handle_file(Path(__file__))}, "is no picture or video that can be shown"),
    ({"images": [handle_file(PICTURE)] * (MOST_FILES + 1)}, "files are attached to one question"),
    ({"history": BEFORE[1:]}, "History: has an answer to no question"),
    ({"history": [{"role": "system", "content": "x"}]}, "History: Input should be 'user' or"),
    ({"history": BEFORE * 501}, "History: List should have at most 1000 items"),
]


@SHARED
async def test_what_is_refused_is_told_with_the_remedy(served: Stack) -> None:
    for values, told in REFUSED:
        with pytest.raises(AppError, match=told):
            await served.program.ask(**{"message": "What?", **values})
    with pytest.raises(ValidationError, match="not uploaded through this page: attach the file"):
        await served.program.ask("What?", images=handle_file("http://127.0.0.1:9/x.png"))


@SHARED
async def test_a_cancelled_job_stops_the_worker(served: Stack) -> None:
    def begin_and_cancel() -> None:
        job = served.program.client.submit(LONG, api_name="/chat")
        next(iter(job))
        assert served.engine.running
        assert job.cancel()

    await asyncio.to_thread(begin_and_cancel)
    await until(lambda: not served.engine.running, "the end of what was cancelled")


@SHARED
async def test_only_the_job_that_is_cancelled_ends(served: Stack) -> None:
    def cancel_one_of_two() -> str:
        ended, kept = (
            served.program.client.submit(question, api_name="/chat")
            for question in (LONG, "word " * 40)
        )
        for job in (ended, kept):
            next(iter(job))
        assert ended.cancel()
        return str(kept.result(timeout=60))

    assert (await asyncio.to_thread(cancel_one_of_two)).split() == ["word"] * 40
    await until(lambda: not served.engine.running, "the end of what was cancelled")


@SHARED
async def test_a_program_that_dies_stops_the_worker(served: Stack) -> None:
    body = {"data": [LONG, *[None] * 2, "", None, None, None, None, None], "session_hash": "dies"}
    named = {one["api_name"]: one["id"] for one in served.program.client.config["dependencies"]}
    async with httpx.AsyncClient(base_url=served.program.client.src, trust_env=False) as http:
        call = body | {"fn_index": named["chat"]}
        assert (await http.post("gradio_api/queue/join", json=call)).status_code == 200
        events = http.stream("GET", "gradio_api/queue/data?session_hash=dies")
        async with events as answer:
            lines = answer.aiter_lines()
            while "process_generating" not in await anext(lines):
                assert answer.status_code == 200
            assert served.engine.running
    await until(lambda: not served.engine.running, "the end of what nobody reads")


@SHARED
async def test_only_calls_of_the_endpoints_can_be_cancelled(served: Stack) -> None:
    events = served.program.client.config["dependencies"]
    private = next(one["id"] for one in events if one["api_visibility"] == "private")
    async with httpx.AsyncClient(base_url=served.program.client.src, trust_env=False) as http:
        body = {"fn_index": private, "session_hash": "s", "event_id": "e"}
        refused = await http.post("gradio_api/cancel", json=body)
        assert (refused.status_code, refused.json()["code"]) == (404, "no_such_route")
        refused = await http.post("gradio_api/cancel", json={"fn_index": 1})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_field")


async def test_moderation_reads_what_was_said_before_too(
    controller: str, make_services: MakeServices, moderation: Moderation
) -> None:
    async with AsyncExitStack() as stack:
        services = replace(make_services(controller), moderation=moderation)
        program = await connected(stack, await open_page(stack, services))
        assert await program.ask("good", history=BEFORE)
        for values in ({}, {"history": [{"role": "user", "content": "bad"}]}, {"system": "bad"}):
            with pytest.raises(AppError, match="violence"):
                await program.ask("good" if values else "bad", **values)


async def test_who_has_to_sign_in_does_so_with_the_client_and_has_the_conversation(
    controller: str, make_services: MakeServices, auth_file: Path, tmp_path: Path
) -> None:
    logins = LoginSessions.of(LoginConfig(auth_file=auth_file), tmp_path)
    async with AsyncExitStack() as stack:
        services = replace(make_services(controller), logins=logins)
        address = await open_page(stack, services)
        with pytest.raises(ValueError, match="Please login"):
            await connected(stack, address)
        with pytest.raises(AuthenticationError, match="Invalid credentials"):
            await connected(stack, address, auth=("alice", "wrong"))
        program = await connected(stack, address, auth=("alice", PASSWORDS["alice"]))
        assert await program.ask("What?", images=handle_file(PICTURE))
        (row,) = services.store.conversations()
        assert row.owner is not None and "alice" in row.owner


@pytest.mark.slow
async def test_the_example_of_the_readme_gets_a_true_answer(make_services: MakeServices) -> None:
    text = await asyncio.to_thread((ROOT / "README.md").read_text, "utf-8")
    (example,) = re.findall(r"```python\n(from gradio_client .*?)```", text, re.DOTALL)
    engine = build_engine(ModelConfig(), slots=2)
    async with AsyncExitStack() as stack:
        stack.callback(engine.close)
        services = make_services(await served_engine(stack, engine))
        asked = example.replace("http://localhost:7860", await open_page(stack, services))
        assert asked != example
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", asked), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await run.communicate()
    assert run.returncode == 0
    assert out.decode().endswith("The circle is red.\n")
