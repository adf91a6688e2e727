"""One trace from the page over controller and worker to the engine's stages, at a real receiver."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from llava_serve.client import ChatClient
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import EngineFailure, RemoteError
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.request import Delta, Stages, Usage
from llava_serve.tracing.span import Attributes, Span, Tracer, open_tracer
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.generation_trace import add_stages
from llava_serve.worker.worker import ModelWorker
from tests.cluster.conftest import TOKEN, EchoWorker
from tests.tracing.receiver import Receiver
from tests.worker.conftest import ScriptedEngine

SERVER, CLIENT = 2, 3  # of opentelemetry.proto.trace.v1.Span.SpanKind
PROMPT, ANSWER = "a-secret-question", "a-secret-answer"
STAGES = Stages(queue_s=0.01, vision_s=0.02, prefill_s=0.03, decode_s=0.04)
USAGE = Usage(prompt_tokens=9, completion_tokens=5, image_tokens=4, cached_tokens=2)
END = Delta("", "stop", USAGE, STAGES)


class KeptStages(Span):
    """Keeps the stages that it is given."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float, float]] = []

    def add_stage(self, name: str, ago_s: float, lasted_s: float, attributes: Attributes) -> None:
        self.stages.append((name, ago_s, lasted_s))


class Stack:
    """A page's client, a controller and a worker, each with a tracer as in a process of its own."""

    def __init__(self, endpoint: str | None) -> None:
        self._endpoint = endpoint
        self._running = AsyncExitStack()
        self.workers = Registry(shortest_queue)
        self.client: ChatClient

    async def open(self, *engines: Engine) -> None:
        for engine in engines:
            worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id="one")
            app = build_worker(worker, max_body_bytes=10**6, tracer=self._tracer("worker"))
            address = await self._running.enter_async_context(served(app))
            self.workers.register(address, worker.status(engine.card), now=0.0, expires=False)
        policy = AdmissionPolicy(TOKEN)
        app = build_app(self.workers, policy, ControllerSettings(tracer=self._tracer("controller")))
        address = await self._running.enter_async_context(served(app))
        self.session = await self._running.enter_async_context(
            aiohttp.ClientSession(trust_env=False)
        )
        tracer = self._tracer("page") or Tracer()
        await self._running.enter_async_context(tracer.running())
        self.client = ChatClient(address, self.session, tracer=tracer)

    async def ask(self, model: str = "scripted", **fields: Any) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]} | fields
        chunks = [chunk async for chunk in self.client.stream(body)]
        return "".join(one.delta.content or "" for chunk in chunks for one in chunk.choices)

    async def close(self) -> None:
        """End the processes, which sends what they recorded."""
        await self._running.aclose()

    def _tracer(self, service: str) -> Tracer | None:
        return None if self._endpoint is None else open_tracer(self._endpoint, service)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().receiving() as receiver:
        yield receiver


async def test_one_trace_goes_from_the_page_to_the_engines_stages(receiver: Receiver) -> None:
    stack = Stack(receiver.address)
    await stack.open(ScriptedEngine(ANSWER, END))
    assert await stack.ask() == ANSWER
    await stack.close()
    page = receiver.named("chat scripted", "page")
    controller = receiver.named("chat scripted", "controller")
    worker = receiver.named("chat scripted", "worker")
    assert len({one.trace_id for one in receiver.spans}) == 1
    assert (page.parent_id, page.kind) == ("", CLIENT)
    assert (controller.parent_id, controller.kind) == (page.span_id, SERVER)
    assert (worker.parent_id, worker.kind) == (controller.span_id, SERVER)
    stages = receiver.children(worker)
    assert {one.name for one in stages} == {"media", "queue", "vision", "prefill", "decode"}
    assert [one.service for one in stages] == ["llava_serve.worker"] * 5
    lasted = {one.name: (one.ended_ns - one.began_ns) / 1e9 for one in stages}
    assert (lasted["vision"], lasted["prefill"], lasted["decode"]) == (0.02, 0.03, 0.04)


def test_stages_lie_back_to_back_and_the_first_waits_for_its_media() -> None:
    shown = KeptStages()
    add_stages(shown, 0, since_media_s=1.0, queue_s=0.2, stages=STAGES)
    assert {name: (-ago_s, lasted_s) for name, ago_s, lasted_s in shown.stages} == {
        "queue": (-1.0, pytest.approx(0.91)),
        "vision": (pytest.approx(-0.09), 0.02),
        "prefill": (pytest.approx(-0.07), 0.03),
        "decode": (-0.04, 0.04),
    }


def test_a_stage_that_took_no_time_is_left_out() -> None:
    shown = KeptStages()
    without_images = replace(STAGES, vision_s=0.0)
    add_stages(shown, 0, since_media_s=1.0, queue_s=0.2, stages=without_images)
    assert "vision" not in {name for name, _, _ in shown.stages}


async def test_spans_tell_what_the_conventions_ask_for(receiver: Receiver) -> None:
    stack = Stack(receiver.address)
    await stack.open(ScriptedEngine(ANSWER, END))
    await stack.ask(temperature=0.5, max_tokens=7)
    await stack.close()
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "llava_serve",
        "gen_ai.request.model": "scripted",
    }
    for service in ("page", "controller", "worker"):
        attributes = receiver.named("chat scripted", service).attributes
        assert attributes.items() >= common.items()
    told = receiver.named("chat scripted", "worker").attributes
    assert told["gen_ai.request.temperature"] == 0.5
    assert told["gen_ai.request.max_tokens"] == 7
    assert told["gen_ai.usage.input_tokens"] == 9
    assert told["gen_ai.usage.output_tokens"] == 5
    assert told["gen_ai.usage.cache_read.input_tokens"] == 2
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert told["http.response.status_code"] == 200
    passed_on = receiver.named("chat scripted", "controller")
    assert passed_on.attributes["llava.outcome"] == "ok"
    assert passed_on.attributes["gen_ai.response.time_to_first_chunk"] > 0
    (event,) = passed_on.events
    assert event[0] == "worker asked"
    assert receiver.named("chat scripted", "page").attributes["gen_ai.usage.output_tokens"] == 5
    assert len({one.attributes.get("gen_ai.response.id") for one in receiver.spans}) == 2


async def test_no_prompt_no_answer_and_no_key_is_in_a_trace(receiver: Receiver) -> None:
    stack = Stack(receiver.address)
    await stack.open(ScriptedEngine(ANSWER, END))
    await stack.ask()
    for model in ("scripted", f"made up {PROMPT}"):
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
        headers = {"Authorization": f"Bearer {TOKEN}", "x-api-key": "sk-a-key"}
        url = f"{stack.client.address}/v1/chat/completions"
        async with stack.session.post(url, json=body, headers=headers) as answer:
            await answer.read()
    await stack.close()
    sent = b"".join(receiver.bodies)
    assert b"scripted" in sent
    for secret in (PROMPT, ANSWER, TOKEN, "sk-a-key"):
        assert secret.encode() not in sent


async def test_a_client_may_bring_a_trace_of_its_own(receiver: Receiver) -> None:
    stack = Stack(receiver.address)
    await stack.open(ScriptedEngine(ANSWER, END))
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    body = {"model": "scripted", "messages": [{"role": "user", "content": PROMPT}]}
    url = f"{stack.client.address}/v1/chat/completions"
    async with stack.session.post(url, json=body, headers=headers) as answer:
        assert answer.ok
    await stack.close()
    controller = receiver.named("chat scripted", "controller")
    assert (controller.trace_id, controller.parent_id) == ("a" * 32, "b" * 16)
    assert receiver.named("chat scripted", "worker").trace_id == "a" * 32


ASKED = [{"role": "user", "content": PROMPT}]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/messages", {"messages": ASKED, "max_tokens": 9}),
        ("/v1/responses", {"input": PROMPT}),
        ("/v1/completions", {"prompt": PROMPT}),
        ("/api/chat", {"messages": ASKED}),
        ("/api/generate", {"prompt": PROMPT}),
    ],
)
async def test_requests_of_all_protocols_are_traced(
    receiver: Receiver, path: str, fields: dict[str, Any]
) -> None:
    stack = Stack(receiver.address)
    await stack.open(EchoEngine("scripted"))
    body = {"model": "scripted", "stream": False, **fields}
    async with stack.session.post(stack.client.address + path, json=body) as answer:
        assert answer.ok
    await stack.close()
    controller = receiver.named("chat scripted", "controller")
    assert controller.attributes["http.route"] == path
    assert receiver.named("chat scripted", "worker").parent_id == controller.span_id


async def test_several_answers_have_stages_each(receiver: Receiver) -> None:
    stack = Stack(receiver.address)
    await stack.open(ScriptedEngine(ANSWER, END))
    await stack.ask(n=2)
    await stack.close()
    worker = receiver.named("chat scripted", "worker")
    decoded = [one for one in receiver.children(worker) if one.name == "decode"]
    assert sorted(one.attributes["llava.answer"] for one in decoded) == [0, 1]
    assert worker.attributes["gen_ai.response.finish_reasons"] == ["stop", "stop"]


async def test_an_engine_that_tells_no_stages_generates_in_one(receiver: Receiver) -> None:
    stack = Stack(receiver.address)
    await stack.open(EchoEngine("scripted"))
    await stack.ask()
    await stack.close()
    stages = receiver.children(receiver.named("chat scripted", "worker"))
    assert {one.name for one in stages} == {"media", "queue", "generate"}


async def test_a_failure_is_marked_on_every_hop(receiver: Receiver) -> None:
    stack = Stack(receiver.address)
    await stack.open(ScriptedEngine("begun ", EngineFailure("it broke")))
    with pytest.raises(RemoteError):
        await stack.ask()
    await stack.close()
    failed = {one.service: one for one in receiver.spans if one.is_error}
    assert set(failed) == {f"llava_serve.{name}" for name in ("page", "controller", "worker")}
    assert failed["llava_serve.worker"].attributes["error.type"] == "engine_failure"


async def test_what_the_client_did_wrong_is_no_failure_of_the_server(receiver: Receiver) -> None:
    stack = Stack(receiver.address)
    await stack.open(EchoEngine("scripted"))
    with pytest.raises(RemoteError):
        await stack.ask(max_tokens=10**6)
    await stack.close()
    for service in ("controller", "worker"):
        assert not receiver.named("chat scripted", service).is_error


async def test_every_worker_that_was_asked_is_an_event(receiver: Receiver) -> None:
    stack = Stack(receiver.address)
    async with served(EchoWorker(model="scripted", breaks=9).app()) as broken:
        await stack.open(EchoEngine("scripted"))
        alive = stack.workers.known()[0]
        breaks = {"worker_id": "breaks", "queue_length": 0, "speed": 9}  # so it is asked first
        stack.workers.register(
            broken, alive.status.model_copy(update=breaks), now=0.0, expires=False
        )
        await stack.ask()
    await stack.close()
    asked = [
        [event[1]["llava.worker"] for event in one.events]
        for one in receiver.spans
        if one.service.endswith("controller")
    ]
    assert [broken, alive.address] in asked


async def test_a_receiver_that_is_away_costs_spans_and_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stack = Stack("http://127.0.0.1:9")
    await stack.open(ScriptedEngine(ANSWER, END))
    assert await stack.ask() == ANSWER
    await stack.close()
    assert not [one for one in caplog.records if "exporter" in one.name]
    assert "no trace reaches http://127.0.0.1:9/v1/traces" in caplog.text
    assert "correct --otlp-endpoint" in caplog.text


async def test_without_an_endpoint_no_trace_is_handed_on() -> None:
    worker = EchoWorker()
    stack = Stack(None)
    async with served(worker.app()) as address:
        stack.workers.register(address, worker.status, now=0.0, expires=False)
        await stack.open()
        body = {"model": "echo", "messages": [{"role": "user", "content": "a"}]}
        async with stack.session.post(
            f"{stack.client.address}/v1/chat/completions", json=body
        ) as answer:
            assert answer.ok
        await stack.close()
    assert "traceparent" not in worker.seen[0].headers


def test_without_an_endpoint_nothing_is_imported() -> None:
    program = (
        "import sys\n"
        "from llava_serve import controller, gradio_web_server, launch, model_worker\n"
        "from llava_serve.tracing.span import open_tracer\n"
        "open_tracer(None, 'x')\n"
        "heavy = ('opentelemetry.exporter', 'llava_serve.tracing.otlp')\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_where_the_packages_are_missing_the_command_says_which_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    monkeypatch.delitem(sys.modules, "llava_serve.tracing.otlp", raising=False)
    with pytest.raises(SystemExit, match=r"\[otel\]"):
        open_tracer("http://localhost:4318", "page")


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
async def test_an_endpoint_with_or_without_its_path_is_the_same(
    receiver: Receiver, path: str
) -> None:
    tracer = open_tracer(receiver.address + path, "page")
    async with tracer.running():
        with tracer.span("one", "client", {}):
            pass
    assert receiver.named("one").service == "llava_serve.page"
