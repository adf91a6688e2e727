"""A comparison asks each model the same, and says where a model does not take it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing

import pytest

from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import UnsupportedField
from llava_serve.http import serving
from llava_serve.media.reader import MediaReader
from llava_serve.request import Delta, GenerateRequest
from llava_serve.web.chat_service import ChatService, Services
from llava_serve.web.chat_state import ChatState, Kind
from llava_serve.web.compare import same_input
from llava_serve.web.parameters import Parameters
from llava_serve.web.persistence import restored
from llava_serve.web.reply import StreamedReply
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.web.conftest import MakeServices, settled

ASKED = Parameters(temperature=0.5, top_p=1.0, max_tokens=50)


class Seedless(EchoEngine):
    """An engine that takes no seed once `refuses` is set; it tells which seeds it was given."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.seeds: list[int | None] = []
        self.refuses: list[bool] = []

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        seed = request.sampling.seed
        self.seeds.append(seed)
        if seed is not None and self.refuses and self.refuses.pop():
            raise UnsupportedField("seed", "has no effect here")
        async with aclosing(super().stream(request)) as deltas:
            async for delta in deltas:
                yield delta


@pytest.fixture
def engine() -> Seedless:
    return Seedless()


@pytest.fixture
async def asked(engine: Seedless, make_services: MakeServices) -> AsyncIterator[Services]:
    worker = ModelWorker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id="one")
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(
            serving.served(build_app(worker, max_body_bytes=1_000_000))
        )
        services = make_services(address)
        stack.callback(services.store.close)
        await stack.enter_async_context(services.link.opened())
        yield services


async def replies(
    services: Services, kind: Kind = "compare", parameters: Parameters = ASKED
) -> list[StreamedReply]:
    conversation = ChatState(kind)
    message = {"text": "hello", "files": []}
    models = ["echo"] * (2 if kind == "compare" else 1)
    assert await ChatService(services).accept(conversation, message, models, parameters)
    await settled(conversation)
    return conversation.exchanges[0].replies


def mark(answers: list[StreamedReply]) -> str:
    return same_input.mark([one.fingerprint for one in answers if one.fingerprint], "AB")


async def test_a_seed_is_drawn_and_is_the_same_for_all(asked: Services, engine: Seedless) -> None:
    answers = await replies(asked)
    assert len(engine.seeds) == 2 and len({*engine.seeds}) == 1 and engine.seeds[0] is not None
    assert mark(answers).endswith(f"seed {engine.seeds[0]}")
    await replies(asked)
    assert len({*engine.seeds}) == 2


async def test_the_users_own_seed_is_taken(asked: Services, engine: Seedless) -> None:
    await replies(asked, parameters=Parameters(seed="12"))
    assert engine.seeds == [12, 12]


async def test_a_chat_is_asked_without_a_seed(asked: Services, engine: Seedless) -> None:
    (answer,) = await replies(asked, "chat")
    assert engine.seeds == [None] and answer.fingerprint is None


async def test_a_refused_seed_is_left_out_and_the_mark_says_so(
    asked: Services, engine: Seedless
) -> None:
    engine.refuses = [True]
    answers = await replies(asked)
    assert [one.text for one in answers] == ["hello", "hello"]
    assert sorted(map(str, engine.seeds))[-1] == "None"
    (letter,) = ["AB"[slot] for slot, one in enumerate(answers) if one.fingerprint.refused]  # type: ignore[union-attr]
    assert f"{letter} was asked without seed, which its model does not take" in mark(answers)


async def test_a_chat_tells_that_a_seed_is_refused(asked: Services, engine: Seedless) -> None:
    engine.refuses = [True]
    (answer,) = await replies(asked, "chat", Parameters(seed="12"))
    assert answer.error is not None and "seed" in answer.error.message


async def test_an_answer_asked_again_has_the_seed_of_the_others(
    asked: Services, engine: Seedless
) -> None:
    service, conversation = ChatService(asked), ChatState("compare")
    message = {"text": "hello", "files": []}
    assert await service.accept(conversation, message, ["echo", "missing"], ASKED)
    await settled(conversation)
    await service.again(conversation, ["echo", "echo"], ASKED)
    await settled(conversation)
    assert len(engine.seeds) == 2 and len({*engine.seeds}) == 1
    answers = conversation.exchanges[0].replies
    assert same_input.is_same([one.fingerprint for one in answers if one.fingerprint])
    await service.again(conversation, ["echo", "echo"], ASKED)
    await settled(conversation)
    assert len({*engine.seeds}) == 2


async def test_the_fingerprint_comes_back_with_the_conversation(asked: Services) -> None:
    conversation = ChatState("compare")
    message = {"text": "hello", "files": []}
    assert await ChatService(asked).accept(conversation, message, ["echo"] * 2, ASKED)
    await settled(conversation)
    row = asked.store.conversation(conversation.id)
    assert row is not None
    known = restored(row, asked.media).exchanges[0].replies
    expected = [one.fingerprint for one in conversation.exchanges[0].replies]
    assert [one.fingerprint for one in known] == expected and None not in expected
