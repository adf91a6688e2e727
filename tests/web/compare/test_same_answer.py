"""Two workers of one checkpoint, asked the same by the page, answer the same."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from llava_serve import tiny
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig, ModelConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.web.chat_service import ChatService
from llava_serve.web.chat_state import ChatState
from llava_serve.web.compare import same_input
from llava_serve.web.parameters import Parameters
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.web.conftest import MakeServices, settled

pytestmark = pytest.mark.slow
NAMES = ("left", "right")


@pytest.fixture(scope="module")
def engines() -> Iterator[list[Engine]]:
    made = [build_engine(ModelConfig(model_name=name), slots=2) for name in NAMES]
    yield made
    for engine in made:
        engine.close()


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(Parameters(temperature=0.0, max_tokens=24), id="greedy"),
        pytest.param(Parameters(temperature=1.5, max_tokens=24, seed="7"), id="a seed of the user"),
        pytest.param(Parameters(temperature=1.5, max_tokens=24), id="the page's own seed"),
    ],
)
async def test_two_workers_of_one_checkpoint_give_the_same_answer(
    engines: list[Engine],
    make_services: MakeServices,
    upload_folder: Path,
    parameters: Parameters,
) -> None:
    registry = Registry(shortest_queue)
    async with AsyncExitStack() as stack:
        for engine in engines:
            worker = ModelWorker(
                engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id=engine.card.id
            )
            app = build_app(worker, max_body_bytes=1_000_000)
            address = await stack.enter_async_context(serving.served(app))
            registry.register(address, worker.status(engine.card), now=0.0, expires=False)
        controller = build_controller(registry, AdmissionPolicy("token", frozenset()))
        services = make_services(await stack.enter_async_context(serving.served(controller)))
        stack.callback(services.store.close)
        await stack.enter_async_context(services.link.opened())
        image = upload_folder / "three-shapes.png"
        image.write_bytes((tiny.EXAMPLES / image.name).read_bytes())
        conversation = ChatState("compare")
        message = {"text": "Describe the picture.", "files": [str(image)]}
        assert await ChatService(services).accept(conversation, message, NAMES, parameters)
        await settled(conversation)
    one, other = conversation.exchanges[0].replies
    assert (one.error, other.error) == (None, None)
    assert one.text == other.text != ""
    assert one.fingerprint is not None and one.fingerprint == other.fingerprint
    assert same_input.is_same([one.fingerprint, other.fingerprint])
    assert one.fingerprint.parts["files"] == [conversation.exchanges[0].files[0].sha256]
