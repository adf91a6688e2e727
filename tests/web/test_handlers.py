"""What a tab offers follows from its conversation."""

import asyncio
from typing import Any

import gradio as gr
import pytest

from llava_serve.errors import WorkerLost
from llava_serve.web.answer import Answer
from llava_serve.web.asking import Services
from llava_serve.web.chat_handlers import ChatHandlers, ChatView
from llava_serve.web.compare_handlers import CompareHandlers
from llava_serve.web.conversation import Conversation, Exchange

CONTROLS = (0.2, 1.0, 512, None, "")


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
    *_, again, _clear, a, b, c, d, tie, bad = flat
    assert [button["interactive"] for button in (a, b, c, d)] == better
    assert (tie["interactive"], bad["interactive"]) == (others, others)
    assert again["value"] == ("↻ Regenerate" if all(texts) else "↻ Retry")


async def test_a_vote_that_is_not_offered_is_not_taken(services: Services) -> None:
    handlers, conversation = CompareHandlers(services), compared("one", "")
    await handlers.vote_better(0, conversation)
    await handlers.vote_all("tie", "A tie.", conversation)
    assert conversation.exchanges[0].vote is None and conversation.notice is None


async def test_a_draft_is_not_overwritten_by_the_last_question(services: Services) -> None:
    handlers, conversation = ChatHandlers(services, ()), compared("one")
    with pytest.raises(gr.Error, match="what you have typed"):
        await handlers.edit(conversation, message("a draft"))
    view = ChatView(*await handlers.edit(conversation, message(" ")))
    assert view.composer["value"] == {"text": "which?", "files": []}
    assert conversation.exchanges == []


async def test_taking_a_question_back_takes_its_error_away(services: Services) -> None:
    handlers, conversation = ChatHandlers(services, ()), compared("one")
    conversation.notice = WorkerLost("http://w", "gone")
    view = ChatView(*await handlers.edit(conversation, message("")))
    assert view.live == ""


async def test_a_stop_before_anything_streams_frees_the_tab(services: Services) -> None:
    handlers, conversation = ChatHandlers(services, ()), Conversation(wanted=("echo",))
    await handlers.submit(conversation, message("hello"), *CONTROLS)
    await handlers.stop(conversation)
    view = ChatView(*await handlers.settle(conversation))
    assert (view.composer["submit_btn"], view.again["interactive"]) == (True, True)
    assert "Stopped." in view.history


async def test_a_text_that_is_slow_to_draw_holds_up_nobody(services: Services) -> None:
    """Markdown takes time for thousands of brackets; other browsers are served meanwhile."""
    conversation, turns = compared("[" * 3000), 0
    viewing = asyncio.create_task(ChatHandlers(services, ()).view(conversation))
    while not viewing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10
