"""An inspection of an answer asks with the request that the answer was asked with."""

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
from fastapi import FastAPI

from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import InspectionUnsupported
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.inspection import Inspection
from llava_serve.request import InspectRequest
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.compare.fingerprint import Fingerprint
from llava_serve.web.inspection import panel
from llava_serve.web.inspection.answer import as_asked, inspect, sent_body
from llava_serve.web.messages import DataUri, data_uri, dumps, request_body
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import StreamedReply
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.web.conftest import MakeServices
from tests.web.inspection.conftest import Asked

CHAT, INSPECT = "/v1/chat/completions", "/v1/inspect"
FIRST = Parameters(temperature=0.5, top_p=0.9, max_tokens=3, seed="7", system="Be brief.")
SECOND = Parameters(max_tokens=50)


async def test_it_is_the_request_of_the_answer_whatever_was_asked_since(asked: Asked) -> None:
    await asked.ask("one two three four five six", FIRST, "dot.png", "wide.png")
    await asked.resume(SECOND)
    await asked.ask("", SECOND, "wide.png")
    await asked.ask("and text alone", FIRST)
    assert len(asked.bodies[CHAT]) == 4
    for exchange in range(3):
        assert (await asked.saw(exchange)).status_code == 200
    assert asked.bodies[INSPECT] == asked.bodies[CHAT][1:]  # the first was continued
    assert asked.bodies[INSPECT][0]["continue_final_message"] is True


async def test_it_is_the_same_request_while_the_conversation_is_open(asked: Asked) -> None:
    await asked.ask("one two three four five six", FIRST, "dot.png")
    await asked.resume(SECOND)
    await asked.ask("and more", FIRST)
    uri_of = partial(data_uri, asked.services.media)
    for number, sent in enumerate(asked.bodies[CHAT][1:]):
        rebuilt = request_body(as_asked(asked.conversation.exchanges, number, 0), uri_of)
        body = json.loads(dumps(rebuilt))
        body["stream_options"]["include_usage"] = True
        assert body | {"stream": True} == sent


async def test_in_a_comparison_it_has_the_seed_that_was_drawn(asked: Asked) -> None:
    asked.conversation = ChatState("compare")
    await asked.ask("hello", SECOND, "dot.png", models=2)
    for slot in range(2):
        assert (await asked.saw(0, slot)).status_code == 200
    assert asked.bodies[INSPECT] == asked.bodies[CHAT]
    assert "seed" in asked.bodies[INSPECT][0]


def test_what_a_model_refused_is_not_in_it() -> None:
    fingerprint = Fingerprint({"seed": 5}, refused=("temperature",))
    reply = StreamedReply("m", asked=FIRST, fingerprint=fingerprint)
    exchanges = as_asked([Exchange("hello", (), [reply])], 0, 0)
    body = sent_body(exchanges, lambda file: DataUri(file.name), 0)
    assert "temperature" not in body
    assert (body["seed"], body["top_p"]) == (7, 0.9)  # the seed that was asked for stays


def test_the_answer_itself_and_what_came_later_are_not_in_it() -> None:
    replies = [StreamedReply("a", text="an answer"), StreamedReply("b", text="another")]
    exchanges = [Exchange("1", (), list(replies)), Exchange("2", (), list(replies))]
    rebuilt = as_asked([*exchanges, Exchange("3", (), list(replies))], 1, 1)
    assert [one.text for one in rebuilt] == ["1", "2"]
    assert [one.text for one in rebuilt[1].replies] == ["an answer", ""]
    assert exchanges[1].replies[1].text == "another"


class Silent(EchoEngine):
    """An engine whose requests are prepared where nobody sees it."""

    async def inspect(self, request: InspectRequest) -> Inspection:
        raise InspectionUnsupported(self.card.id)


@pytest.fixture(params=["its engine cannot", "it is none of ours"])
async def mute(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A worker that does not tell what it sees."""
    app = FastAPI()
    if request.param == "its engine cannot":
        worker = ModelWorker(Silent(), Gate(4, 4), MediaReader(MediaConfig()), worker_id="one")
        app = build_worker(worker, max_body_bytes=1_000_000)
    async with serving.served(app) as address:
        yield address


async def test_a_worker_that_tells_nothing_is_no_error(
    mute: str, make_services: MakeServices
) -> None:
    services = make_services(mute)
    exchanges = [Exchange("hello", (), [StreamedReply("echo")])]
    body = request_body(exchanges, partial(data_uri, services.media))
    async with services.link.opened():
        told = await inspect(services, ChatState(), body)
    services.store.close()
    assert told is None
    assert "does not tell. Its answers are not affected." in panel.refusal()
