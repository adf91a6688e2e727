"""What a tab offers follows from its conversation."""

import asyncio
from typing import Any

import pytest

from llava_serve.errors import WorkerLost
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.handlers import CHAT_TAB, COMPARE_TAB, Handlers
from llava_serve.web.reply import StreamedReply
from llava_serve.web.sessions import Known, Place
from tests.web.conftest import settled

CONTROLS = (0.2, 1.0, 512, "", "")


def ended(model: str, text: str) -> StreamedReply:
    """An answer with text that is whole, or without any that failed."""
    reply = StreamedReply(model, text=text)
    error = None if text else WorkerLost("http://w", "gone")
    reply.end("done" if text else "failed", 1.0, error)
    return reply


def compared(*texts: str) -> ChatState:
    replies = [ended(f"model-{number}", text) for number, text in enumerate(texts)]
    return ChatState(exchanges=[Exchange("which?", (), replies)])


def at(conversation: ChatState) -> Place:
    return Place(conversation, Known())


def message(text: str) -> dict[str, Any]:
    return {"text": text, "files": []}


@pytest.mark.parametrize(
    ("texts", "better", "others"),
    [
        pytest.param(("one", "two"), [True, True, False, False], True, id="both"),
        pytest.param(("one", "", "three"), [True, False, True, False], True, id="one failed"),
        pytest.param(("one", ""), [False] * 4, False, id="nothing to compare with"),
        pytest.param((*"abcde", "f"), [True] * 6, True, id="six"),
    ],
)
async def test_only_what_can_be_judged_can_be_voted_on(
    services: Services, texts: tuple[str, ...], better: list[bool], others: bool
) -> None:
    view = Handlers(services, COMPARE_TAB).view(compared(*texts))
    assert [view[letter]["interactive"] for letter in "ABCDEF"[: len(better)]] == better
    assert [view[letter]["visible"] for letter in "ABCDEF"] == [n < len(texts) for n in range(6)]
    assert (view["tie"]["interactive"], view["both_bad"]["interactive"]) == (others, others)
    assert view["again"]["value"] == ("Regenerate" if all(texts) else "Retry")


async def test_a_vote_that_is_not_offered_is_not_taken(services: Services) -> None:
    handlers, conversation = Handlers(services, COMPARE_TAB), compared("one", "")
    await handlers.prefer("better", 0, at(conversation))
    await handlers.prefer("tie", None, at(conversation))
    assert conversation.exchanges[0].vote is None and conversation.notice is None


def lost(model: str, wanted: str) -> ChatState:
    """A conversation whose answer was lost with its worker; `wanted` is the menu's choice."""
    return ChatState(exchanges=[Exchange("which?", (), [ended(model, "")])], wanted=(wanted,))


async def test_retry_asks_no_model_that_only_stands_in(services: Services) -> None:
    """The menu has moved to `echo`, which nobody has chosen."""
    handlers, conversation = Handlers(services, CHAT_TAB), lost("gone", wanted="gone")
    await handlers.again(at(conversation), *CONTROLS)
    assert [reply.model for reply in conversation.exchanges[0].replies] == ["gone"]
    assert conversation.notice is not None
    assert "'gone' was asked" in conversation.notice.message
    assert "'echo' is chosen" in conversation.notice.message


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        pytest.param("echo", "gone", id="who was asked, while the menu waits for another"),
        pytest.param("gone", "echo", id="who was chosen since"),
    ],
)
async def test_retry_asks_who_was_asked_or_chosen(
    services: Services, asked: str, wanted: str
) -> None:
    handlers, conversation = Handlers(services, CHAT_TAB), lost(asked, wanted)
    await handlers.again(at(conversation), *CONTROLS)
    await settled(conversation)
    assert conversation.notice is None
    assert conversation.exchanges[0].replies[0].text == "which?"


async def test_a_stop_before_anything_streams_frees_the_tab(services: Services) -> None:
    handlers, conversation = Handlers(services, CHAT_TAB), ChatState(wanted=("echo",))
    await handlers.submit(at(conversation), message("hello"), *CONTROLS)
    await handlers.stop(at(conversation))
    await settled(conversation)
    view = await handlers.settle(at(conversation))
    assert (view["composer"]["submit_btn"], view["again"]["interactive"]) == (True, True)
    (drawn,) = (await handlers.draw(conversation, None)).settled
    assert "Stopped." in drawn


async def test_a_text_that_is_slow_to_draw_holds_up_nobody(services: Services) -> None:
    """Markdown takes time for thousands of brackets; other browsers are served meanwhile."""
    conversation, turns = compared("[" * 3000), 0
    viewing = asyncio.create_task(Handlers(services, CHAT_TAB).draw(conversation, None))
    while not viewing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10


async def test_a_question_during_an_answer_is_kept_and_said(services: Services) -> None:
    handlers, conversation = Handlers(services, CHAT_TAB), ChatState(wanted=("echo",))
    await handlers.submit(at(conversation), message("word " * 1000), *CONTROLS)
    view = await handlers.submit(at(conversation), message("next"), *CONTROLS)
    assert "value" not in view["composer"] and view["composer"]["stop_btn"]
    drawn = await handlers.draw(conversation, None)
    assert "still running" in drawn.notice and "Esc" in drawn.notice
    conversation.stop()
    await settled(conversation)
    assert len(conversation.exchanges) == 1


async def test_clear_can_be_undone_until_the_next_question(services: Services) -> None:
    handlers, said = Handlers(services, CHAT_TAB), compared("one")
    place = Place(said, Known())
    view = await handlers.clear(place)
    assert place.conversation is not said and place.conversation.exchanges == []
    assert view["undo"]["interactive"]
    await handlers.undo(place)
    assert place.conversation is said
    await handlers.clear(place)
    place.conversation.wanted = ("echo",)
    view = await handlers.submit(place, message("hello"), *CONTROLS)
    await settled(place.conversation)
    assert not place.conversation.can_undo


async def test_the_context_line_outlives_an_answer_without_figures(services: Services) -> None:
    handlers, conversation = Handlers(services, CHAT_TAB), compared("one", "two")
    conversation.wanted = ("echo",)
    conversation.exchanges[0].replies[0].prompt_tokens = 300
    stopped = StreamedReply("echo", text="half")
    stopped.end("stopped", 1.0)
    conversation.exchanges.append(Exchange("more?", (), [stopped]))
    assert "300 of" in handlers.view(conversation)["budget"]
