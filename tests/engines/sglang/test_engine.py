"""Requests reach the server whole, deltas come back, and whoever leaves stops the work there."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import PIL.Image
import pytest

from llava_serve.chat.rendering import PromptFormat, from_template
from llava_serve.chat.templates import template_named
from llava_serve.engines.sglang.client import SglangClient
from llava_serve.engines.sglang.engine import SglangEngine
from llava_serve.engines.sglang.server import Server
from llava_serve.errors import (
    ContextOverflow,
    InspectionUnsupported,
    InvalidField,
    MediaCountMismatch,
    ServeError,
    SglangFailed,
    SglangLost,
    SglangRefused,
    SglangUnreachable,
    TextTooLong,
    UnsupportedField,
)
from llava_serve.request import (
    Conversation,
    GenerateRequest,
    Image,
    InspectRequest,
    Message,
    ReadyPrompt,
    SamplingParams,
)
from tests.engines.sglang.conftest import CHAT_EVENTS, IMAGE, VOCABULARY, Listening, Recorded

HELLO = Conversation((Message("user", ("hello",)),))


def request(prompt: Conversation | ReadyPrompt = HELLO, **sampling: Any) -> GenerateRequest:
    return GenerateRequest(request_id="req-7", prompt=prompt, sampling=SamplingParams(**sampling))


@asynccontextmanager
async def engine_of(endpoint: str, form: PromptFormat | None = None) -> AsyncIterator[SglangEngine]:
    client = SglangClient(endpoint)
    server = Server(client, look_every_s=0.01)
    with anyio.fail_after(20):
        async with server.watched():
            await server.change(None)
            yield SglangEngine(client, server, form)


async def answer(engine: SglangEngine, asked: GenerateRequest) -> str:
    return "".join([delta.text async for delta in engine.stream(asked)])


async def test_messages_go_to_the_servers_own_template(
    recorded: Recorded, listening: Listening
) -> None:
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        assert await answer(engine, request()) == "It is red."
    assert recorded.asked[0]["messages"][0]["content"] == [{"type": "text", "text": "hello"}]
    assert recorded.asked[0]["rid"].startswith("req-7-")
    assert recorded.aborted == []


async def test_tokens_go_to_the_server_as_they_are(
    recorded: Recorded, listening: Listening
) -> None:
    about = {"prompt_tokens": 2, "completion_tokens": 1, "finish_reason": {"type": "length"}}
    recorded.events = [{"text": "hi", "meta_info": about}]
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        assert await answer(engine, request(ReadyPrompt("", continues=True, tokens=(5, 6)))) == "hi"
        for tokens, refusal in (
            ((5, IMAGE), MediaCountMismatch),
            ((5,) * 2049, TextTooLong),
            ((5, VOCABULARY), InvalidField),
        ):
            with pytest.raises(refusal):
                await answer(engine, request(ReadyPrompt("", continues=True, tokens=tokens)))
    (asked,) = recorded.asked
    assert asked["input_ids"] == [5, 6] and "text" not in asked


async def test_a_template_of_ours_makes_a_ready_prompt_and_brings_its_stop(
    recorded: Recorded, listening: Listening
) -> None:
    about = {"prompt_tokens": 1, "completion_tokens": 1, "finish_reason": {"type": "length"}}
    recorded.events = [{"text": "hi", "meta_info": about}]
    form = from_template(template_named("vicuna_v1"))
    async with listening(recorded) as endpoint, engine_of(endpoint, form) as engine:
        assert await answer(engine, request(stop=("x",))) == "hi"
    assert recorded.asked[0]["text"].endswith("USER: hello ASSISTANT:")
    assert recorded.asked[0]["sampling_params"]["stop"] == ["x", "</s>"]


async def test_an_inspection_is_refused_with_the_reason(
    recorded: Recorded, listening: Listening
) -> None:
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        with pytest.raises(InspectionUnsupported, match="runs in an SGLang server"):
            await engine.inspect(InspectRequest(conversation=HELLO, sampling=SamplingParams()))
    assert recorded.asked == []


BEGUN = Conversation(
    (
        Message("user", ("hello",)),
        Message("assistant", ("old",)),
        Message("user", ("more",)),
        Message("assistant", ("It ", "was \n")),
    )
).continued()


async def test_a_text_to_go_on_with_is_the_servers_last_message(
    recorded: Recorded, listening: Listening
) -> None:
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        for _ in range(2):
            assert await answer(engine, request(BEGUN)) == "It is red."
    body = recorded.asked[0]
    assert body["continue_final_message"] is True
    assert body["messages"][-1] == {"role": "assistant", "content": "It was \n"}
    assert body["messages"][1]["content"] == [{"type": "text", "text": "old"}]
    (asked,) = [one for one in recorded.tokenized if "continue_final_message" in one]
    assert asked["messages"][-1] == {"role": "assistant", "content": "x \n"}


async def test_a_server_that_loses_the_end_of_the_text_is_not_asked_to_go_on(
    recorded: Recorded, listening: Listening
) -> None:
    recorded.loses = 1
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        with pytest.raises(UnsupportedField, match="continue_final_message cannot be honoured"):
            await answer(engine, request(BEGUN))
    assert recorded.asked == []


async def test_a_template_of_ours_ends_with_the_text_to_go_on_with(
    recorded: Recorded, listening: Listening
) -> None:
    about = {"prompt_tokens": 1, "completion_tokens": 1, "finish_reason": {"type": "length"}}
    recorded.events = [{"text": " hi", "meta_info": about}]
    form = from_template(template_named("vicuna_v1"))
    async with listening(recorded) as endpoint, engine_of(endpoint, form) as engine:
        assert await answer(engine, request(BEGUN)) == " hi"
    assert recorded.asked[0]["text"].endswith("USER: more ASSISTANT: It was \n")


async def test_leaving_early_aborts_the_request_by_its_own_id(
    recorded: Recorded, listening: Listening
) -> None:
    never = asyncio.Event()
    recorded.events = [*CHAT_EVENTS[:2], never]
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        async with aclosing(engine.stream(request())) as deltas:
            assert (await anext(deltas)).text == "It is"
        assert recorded.aborted == [recorded.asked[0]["rid"]]
        never.set()


async def test_leaving_before_the_first_word_aborts_too(
    recorded: Recorded, listening: Listening
) -> None:
    never = asyncio.Event()
    recorded.events = [never]
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        waiting = asyncio.create_task(answer(engine, request()))
        await recorded.was_asked.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert recorded.aborted == [recorded.asked[0]["rid"]]
        never.set()


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ((400, {"object": "error", "message": "no", "code": 400}), SglangRefused),
        ((500, "Internal Server Error"), SglangFailed),
    ],
)
async def test_a_refusal_is_our_error(
    recorded: Recorded, listening: Listening, refusal: tuple[int, Any], kind: type[ServeError]
) -> None:
    recorded.refusal = refusal
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        with pytest.raises(kind):
            await answer(engine, request())
    assert recorded.aborted == []


async def test_a_stream_of_status_200_that_tells_an_error_is_an_error(
    recorded: Recorded, listening: Listening
) -> None:
    told = "The input (3001 tokens) is longer than the model's context length (2048 tokens)."
    recorded.events = [{"error": {"message": told, "code": 400}}]
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        with pytest.raises(ContextOverflow):
            await answer(engine, request())


@pytest.mark.parametrize("prompt", [HELLO, ReadyPrompt("hello")])
async def test_a_stream_that_does_not_say_how_it_ended_is_no_answer(
    recorded: Recorded, listening: Listening, prompt: Conversation | ReadyPrompt
) -> None:
    recorded.events = CHAT_EVENTS[:2] if prompt is HELLO else []
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        with pytest.raises(SglangFailed, match="does not say how"):
            await answer(engine, request(prompt))


@pytest.mark.parametrize("prompt", [HELLO, ReadyPrompt("hello")])
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(b"data: {half\n\n", id="no JSON"),
        pytest.param(b"data: 7\n\n", id="no event"),
        pytest.param(b"data: \xff\n\n", id="no UTF-8"),
        pytest.param({"neither": "nor"}, id="no known event"),
        pytest.param({"choices": [{"delta": None}], "meta_info": None}, id="half an event"),
        pytest.param(
            {
                "choices": [{"delta": {"content": 7}, "finish_reason": None}],
                **{"text": 7, "meta_info": {"finish_reason": None}},
            },
            id="no text",
        ),
    ],
)
async def test_what_cannot_be_read_is_an_error_of_the_server_and_its_work_is_stopped(
    recorded: Recorded, listening: Listening, prompt: Conversation | ReadyPrompt, event: Any
) -> None:
    recorded.events = [event]
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        with pytest.raises(SglangFailed, match="its stream"):
            await answer(engine, request(prompt))
        assert recorded.aborted == [recorded.asked[0]["rid"]]


async def test_a_server_that_is_cut_off_in_mid_answer_is_lost(
    recorded: Recorded, listening: Listening
) -> None:
    recorded.events = [*CHAT_EVENTS[:2], ConnectionResetError()]
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        with pytest.raises(SglangLost, match="the connection was closed"):
            await answer(engine, request())


class SlowPicture(PIL.Image.Image):
    """Is being encoded until it may end; `encoded` counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.encoded = 0

    def save(self, *to: Any, **options: Any) -> None:
        self.begun.set()
        self.may_end.wait(30)
        self.encoded += 1
        PIL.Image.new("RGB", (2, 2)).save(*to, **options)


async def test_encoding_keeps_its_place_until_it_ends(
    recorded: Recorded, listening: Listening
) -> None:
    slow = SlowPicture()
    shown = Conversation((Message("user", (Image(slow, "slow"), "?")),))
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        leaving = asyncio.create_task(answer(engine, request(shown)))
        await asyncio.to_thread(slow.begun.wait, 30)
        leaving.cancel()
        for _ in range(20):  # turns of the loop, far more than leaving takes
            await asyncio.sleep(0)
        assert not leaving.done()
        slow.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert recorded.asked == []


@pytest.mark.parametrize("form", [None, from_template(template_named("vicuna_v1"))])
async def test_pictures_are_encoded_once_for_all_answers_to_a_prompt(
    recorded: Recorded, listening: Listening, form: PromptFormat | None
) -> None:
    slow = SlowPicture()
    slow.may_end.set()
    if form is not None:
        about = {"prompt_tokens": 1, "completion_tokens": 1, "finish_reason": {"type": "length"}}
        recorded.events = [{"text": "It is red.", "meta_info": about}]
    shown = Conversation((Message("user", (Image(slow, "slow"), "?")),))
    async with listening(recorded) as endpoint, engine_of(endpoint, form) as engine:
        texts = await asyncio.gather(*(answer(engine, request(shown)) for _ in range(4)))
    assert texts == ["It is red."] * 4
    assert slow.encoded == 1


async def test_without_a_server_the_request_is_refused_with_the_reason() -> None:
    client = SglangClient("http://127.0.0.1:1")
    with pytest.raises(SglangUnreachable, match="not asked yet"):
        await answer(SglangEngine(client, Server(client)), request())


async def test_a_server_that_is_given_up_ends_its_streams(
    recorded: Recorded, listening: Listening
) -> None:
    never = asyncio.Event()
    recorded.events = [*CHAT_EVENTS[:2], never]
    async with listening(recorded) as endpoint:
        client = SglangClient(endpoint)
        server = Server(client, look_every_s=0.01)
        async with server.watched():
            await server.change(None)
            waiting = asyncio.create_task(answer(SglangEngine(client, server), request()))
            await recorded.was_asked.wait()
            while not waiting.done():
                client.give_up()
                await asyncio.sleep(0)
            with pytest.raises(SglangLost, match="silent"):
                await waiting
            assert recorded.aborted == [recorded.asked[0]["rid"]]
            never.set()
