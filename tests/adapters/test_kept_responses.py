"""Where responses are kept, the `openai` client goes on with them by their id."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import select

from llava_serve.engines.echo import CONTEXT_LENGTH, EchoEngine
from llava_serve.request import Conversation
from llava_serve.storage.kept_responses import KeptResponses, ResponseRow
from tests.adapters.conftest import stack_of
from tests.adapters.test_responses import asked, client_of
from tests.storage.statements import statements
from tests.until import until
from tests.worker.conftest import ScriptedEngine

OWNER = "127.0.0.1"  # without keys, an address


class Recording(EchoEngine):
    """Remembers the conversations that it was asked with."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.asked: list[list[tuple[str, str]]] = []

    def stream(self, request: Any) -> Any:
        assert isinstance(request.prompt, Conversation)
        said = request.prompt.messages
        self.asked.append([(message.role, "".join(message.texts)) for message in said])
        return super().stream(request)


def ids_in(kept: KeptResponses) -> list[str]:
    with kept._sessions() as session:
        return list(session.scalars(select(ResponseRow.id)))


@pytest.fixture
def engine() -> Recording:
    return Recording()


@pytest.fixture
async def client(engine: Recording, kept: KeptResponses) -> AsyncIterator[openai.AsyncOpenAI]:
    async with stack_of(engine, responses=kept) as stack, client_of(stack.controller) as client:
        yield client


async def test_a_conversation_goes_on_by_its_last_id(
    client: openai.AsyncOpenAI, engine: Recording
) -> None:
    first = await client.responses.create(**asked("one", instructions="Be brief."))
    assert first.to_dict()["store"] is True
    async with client.responses.stream(**asked("two", previous_response_id=first.id)) as stream:
        second = await stream.get_final_response()
    assert second.previous_response_id == first.id
    await client.responses.create(**asked("three", previous_response_id=second.id, store=True))
    assert engine.asked[-1] == [
        *(("user", "one"), ("assistant", "one")),
        *(("user", "two"), ("assistant", "two")),
        ("user", "three"),
    ]


async def test_an_item_is_referred_to_by_its_id(
    client: openai.AsyncOpenAI, engine: Recording
) -> None:
    first = await client.responses.create(**asked("one"))
    reference = {"type": "item_reference", "id": first.output[0].id}
    said = [{"role": "user", "content": "one"}, reference, {"role": "user", "content": "two"}]
    assert (await client.responses.create(**asked(said))).output_text == "two"
    assert engine.asked[-1][1] == ("assistant", "one")


async def test_a_response_is_shown_and_forgotten(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(**asked("one"))
    assert await client.responses.retrieve(first.id) == first
    await client.responses.delete(first.id)
    for ask in (
        client.responses.retrieve(first.id),
        client.responses.delete(first.id),
        client.responses.create(**asked("two", previous_response_id=first.id)),
        client.responses.create(**asked([{"type": "item_reference", "id": first.output[0].id}])),
    ):
        with pytest.raises(openai.NotFoundError, match="send the whole conversation"):
            await ask


async def test_what_is_not_to_be_stored_is_not(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(**asked("one", store=False))
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


async def test_a_history_is_bounded_as_a_body_is(client: openai.AsyncOpenAI) -> None:
    long = "x" * 600_000
    first = await client.responses.create(**asked(long))
    with pytest.raises(openai.APIStatusError, match="Shorten the text"):
        await client.responses.create(**asked(long, previous_response_id=first.id))


async def test_a_history_that_is_too_large_is_not_read(
    client: openai.AsyncOpenAI, kept: KeptResponses
) -> None:
    before = None
    for each in ("resp_1", "resp_2"):
        kept.begin(OWNER, each, ["x" * 26_000_000], before)
        kept.finish({"id": each, "output": []})
        before = each
    with statements(kept) as ran, pytest.raises(openai.APIStatusError, match="larger than 50 MB"):
        await client.responses.create(**asked("one", previous_response_id=before))
    assert ran
    assert not [statement for statement in ran if "said" in statement]


async def test_referred_items_are_found_at_once_up_to_a_limit(client: openai.AsyncOpenAI) -> None:
    answers = [await client.responses.create(**asked(said)) for said in ("one", "two")]
    items = [{"type": "item_reference", "id": answer.output[0].id} for answer in answers]
    question = {"role": "user", "content": "three"}
    assert (await client.responses.create(**asked([*items, question]))).output_text == "three"
    lost = {"type": "item_reference", "id": "msg_lost"}
    with pytest.raises(openai.NotFoundError, match="msg_lost") as missing:
        await client.responses.create(**asked([*items, lost, question]))
    assert missing.value.param == "input.2"
    with pytest.raises(openai.BadRequestError, match="at most 500 are read") as refusal:
        await client.responses.create(**asked(items[:1] * 501 + [question]))
    assert refusal.value.param == "input"


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "another"},
        {"tools": [{"type": "web_search"}]},
        {"input": "x " * (CONTEXT_LENGTH + 1), "stream": True},
        {"input": "x " * (CONTEXT_LENGTH + 1)},
    ],
)
async def test_what_is_refused_is_not_kept_and_makes_no_room(
    engine: Recording, tmp_path: Path, fields: dict[str, Any]
) -> None:
    kept = KeptResponses(f"sqlite:///{tmp_path / 'full.sqlite'}", days=1.0, most_bytes=3000)
    kept.create_tables()
    async with stack_of(engine, responses=kept) as stack, client_of(stack.controller) as client:
        first = await client.responses.create(**asked("one"))
        with pytest.raises(openai.APIError):
            answer = await client.responses.create(**asked("y" * 2900) | fields)
            [event async for event in answer]
        assert await client.responses.retrieve(first.id) == first
        await until(lambda: ids_in(kept) == [first.id])


async def test_an_answer_that_breaks_off_is_not_kept(kept: KeptResponses) -> None:
    engine = ScriptedEngine("one", RuntimeError("broken"))
    async with stack_of(engine, responses=kept) as stack, client_of(stack.controller) as client:
        with pytest.raises(openai.APIError):
            async with client.responses.stream(**asked("one", model="scripted")) as stream:
                await stream.get_final_response()
        await until(lambda: ids_in(kept) == [])


async def test_what_has_expired_is_swept_when_a_controller_starts(kept: KeptResponses) -> None:
    past = KeptResponses(str(kept._engine.url), days=1.0, clock=lambda: 0.0)
    past.begin(OWNER, "resp_1", ["asked"])
    past.finish({"id": "resp_1", "output": []})
    past.close()
    async with stack_of(EchoEngine("echo"), responses=kept):
        await until(lambda: ids_in(kept) == [])


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"said": [{"type": "item_reference", "id": "msg_1"}]}, "input.0"),
    ],
)
async def test_where_none_is_kept_the_flag_is_named(fields: dict[str, Any], named: str) -> None:
    async with stack_of(EchoEngine("echo")) as stack, client_of(stack.controller) as client:
        with pytest.raises(openai.BadRequestError, match="--keep-responses-days") as refusal:
            await client.responses.create(**asked(**fields))
    assert refusal.value.param == named
