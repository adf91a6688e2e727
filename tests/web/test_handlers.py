"""What a tab offers follows from its conversation."""

import asyncio
import json
from typing import Any

import pytest

from llava_serve.errors import WorkerLost
from llava_serve.web.answer import Answer
from llava_serve.web.asking import Services
from llava_serve.web.chat_handlers import ChatHandlers, ChatView
from llava_serve.web.compare_handlers import CompareHandlers
from llava_serve.web.conversation import Conversation, Exchange
from llava_serve.web.sessions import Known, Place
from tests.web.conftest import settled

CONTROLS = (0.2, 1.0, 512, "", "")


def ended(model: str, text: str) -> Answer:
    """An answer with text that is whole, or without any that failed."""
    answer = Answer(model, text=text)
    error = None if text else WorkerLost("http://w", "gone")
    answer.end("done" if text else "failed", 1.0, error)
    return answer


def compared(*texts: str) -> Conversation:
    answers = [ended(f"model-{number}", text) for number, text in enumerate(texts)]
    return Conversation(exchanges=[Exchange("which?", (), answers)])


def message(text: str) -> dict[str, Any]:
    return {"text": text, "files": []}


@pytest.mark.parametrize(
    ("texts", "better", "others"),
    [
        pytest.param(("one", "two"), [True, True, False, False], True, id="both"),
        pytest.param(("one", "", "three"), [True, False, True, False], True, id="one failed"),
        pytest.param(("one", ""), [False] * 4, False, id="nothing to compare with"),
    ],
)
async def test_only_what_can_be_judged_can_be_voted_on(
    services: Services, texts: tuple[str, ...], better: list[bool], others: bool
) -> None:
    flat = await CompareHandlers(services).view(compared(*texts))
    *_, again, _clear, _undo, a, b, c, d, tie, bad = flat
    assert [button["interactive"] for button in (a, b, c, d)] == better
    assert (tie["interactive"], bad["interactive"]) == (others, others)
    assert again["value"] == ("Regenerate" if all(texts) else "Retry")


async def test_a_vote_that_is_not_offered_is_not_taken(services: Services) -> None:
    handlers, conversation = CompareHandlers(services), compared("one", "")
    await handlers.vote_better(0, conversation)
    await handlers.vote_all("tie", conversation)
    assert conversation.exchanges[0].vote is None and conversation.notice is None


async def test_a_draft_is_not_overwritten_by_the_last_question(services: Services) -> None:
    handlers, conversation = ChatHandlers(services, ()), compared("one")
    first = ChatView(*await handlers.edit(conversation, message("a draft")))
    again = ChatView(*await handlers.edit(conversation, message("a draft")))
    assert "what you have typed" in json.loads(first.signal)["told"]
    assert again.signal != first.signal  # so that the browser says it again
    view = ChatView(*await handlers.edit(conversation, message(" ")))
    assert view.composer["value"] == {"text": "which?", "files": []}
    assert conversation.exchanges == []


async def test_taking_a_question_back_takes_its_error_away(services: Services) -> None:
    handlers, conversation = ChatHandlers(services, ()), compared("one")
    conversation.notice = WorkerLost("http://w", "gone")
    await handlers.edit(conversation, message(""))
    assert (await handlers.draw(conversation, None)).notice == ""


def lost(model: str, wanted: str) -> Conversation:
    """A conversation whose answer was lost with its worker; `wanted` is the menu's choice."""
    return Conversation(exchanges=[Exchange("which?", (), [ended(model, "")])], wanted=(wanted,))


async def test_retry_asks_no_model_that_only_stands_in(services: Services) -> None:
    """The menu has moved to `echo`, which nobody has chosen."""
    handlers, conversation = ChatHandlers(services, ()), lost("gone", wanted="gone")
    await handlers.again(conversation, *CONTROLS)
    assert [answer.model for answer in conversation.exchanges[0].answers] == ["gone"]
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
    handlers, conversation = ChatHandlers(services, ()), lost(asked, wanted)
    await handlers.again(conversation, *CONTROLS)
    await settled(conversation)
    assert conversation.notice is None
    assert conversation.exchanges[0].answers[0].text == "which?"


async def test_a_stop_before_anything_streams_frees_the_tab(services: Services) -> None:
    handlers, conversation = ChatHandlers(services, ()), Conversation(wanted=("echo",))
    await handlers.submit(conversation, message("hello"), *CONTROLS)
    await handlers.stop(conversation)
    await settled(conversation)
    view = ChatView(*await handlers.settle(conversation))
    assert (view.composer["submit_btn"], view.again["interactive"]) == (True, True)
    (drawn,) = (await handlers.draw(conversation, None)).settled
    assert "Stopped." in drawn


async def test_a_text_that_is_slow_to_draw_holds_up_nobody(services: Services) -> None:
    """Markdown takes time for thousands of brackets; other browsers are served meanwhile."""
    conversation, turns = compared("[" * 3000), 0
    viewing = asyncio.create_task(ChatHandlers(services, ()).draw(conversation, None))
    while not viewing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10


async def test_a_question_during_an_answer_is_kept_and_said(services: Services) -> None:
    handlers, conversation = ChatHandlers(services, ()), Conversation(wanted=("echo",))
    await handlers.submit(conversation, message("word " * 1000), *CONTROLS)
    view = ChatView(*await handlers.submit(conversation, message("next"), *CONTROLS))
    assert "value" not in view.composer and view.composer["stop_btn"]
    drawn = await handlers.draw(conversation, None)
    assert "still running" in drawn.notice and "Esc" in drawn.notice
    conversation.stop()
    await settled(conversation)
    assert len(conversation.exchanges) == 1


async def test_clear_can_be_undone_until_the_next_question(services: Services) -> None:
    handlers, said = ChatHandlers(services, ()), compared("one")
    place = Place(said, Known())
    view = ChatView(*await handlers.clear(place))
    assert place.conversation is not said and place.conversation.exchanges == []
    assert view.undo["interactive"]
    await handlers.undo(place, message(""))
    assert place.conversation is said
    await handlers.clear(place)
    place.conversation.wanted = ("echo",)
    view = ChatView(*await handlers.submit(place.conversation, message("hello"), *CONTROLS))
    await settled(place.conversation)
    assert not place.conversation.can_undo


async def test_an_edit_that_is_undone_takes_the_question_out_of_the_composer(
    services: Services,
) -> None:
    handlers, conversation = ChatHandlers(services, ()), compared("one")
    await handlers.edit(conversation, message(""))
    view = ChatView(*await handlers.undo(Place(conversation, Known()), message("which?")))
    assert view.composer["value"] == {"text": "", "files": []}
    await handlers.edit(conversation, message(""))
    view = ChatView(*await handlers.undo(Place(conversation, Known()), message("which one?")))
    assert "value" not in view.composer
    assert [exchange.text for exchange in conversation.exchanges] == ["which?"]


async def test_the_context_line_outlives_an_answer_without_figures(services: Services) -> None:
    handlers, conversation = ChatHandlers(services, ()), compared("one", "two")
    conversation.wanted = ("echo",)
    conversation.exchanges[0].answers[0].prompt_tokens = 300
    stopped = Answer("echo", text="half")
    stopped.end("stopped", 1.0)
    conversation.exchanges.append(Exchange("more?", (), [stopped]))
    assert "300 of" in ChatView(*await handlers.view(conversation)).budget
