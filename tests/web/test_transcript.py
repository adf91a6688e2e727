"""A browser gets of a transcript what it lacks, and of an answer what is new."""

import asyncio
import json
import threading
from typing import Any

import pytest

from llava_serve.web.chat_service import ChatService, Services
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.handlers import CHAT_TAB, Handlers
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import StreamedReply
from llava_serve.web.transcript import Delta, changes, delta


class Browser:
    """Does with the changes what `conversation.js` does."""

    def __init__(self) -> None:
        self.exchanges: dict[str, str] = {}
        self.live = self.notice = ""
        self.received_bytes = 0
        self.changes = 0

    @staticmethod
    def _applied(old: str, change: Delta) -> str:
        units, (before, after, middle) = old.encode("utf-16-le"), change
        end = units[len(units) - 2 * after :].decode("utf-16-le") if after else ""
        return units[: 2 * before].decode("utf-16-le") + middle + end

    def apply(self, change: dict[str, Any]) -> None:
        self.changes += 1
        self.received_bytes += len(json.dumps(change, ensure_ascii=False).encode()) + 8
        known = self.exchanges
        if "marks" in change:
            new = {name: self._applied(self.live, one) for name, one in change["new"].items()}
            self.exchanges = {name: new.get(name) or known[name] for name in change["marks"]}
        if "live" in change:
            self.live = self._applied(self.live, change["live"])
        self.notice = change.get("notice", self.notice)

    async def read(self, conversation: ChatState, handlers: Handlers) -> None:
        self.live = ""
        async for change in changes(conversation, handlers.draw, list(self.exchanges)):
            self.apply(change)

    @property
    def shown(self) -> str:
        return "".join(self.exchanges.values()) + self.live


def said(question: str, reply: str) -> Exchange:
    one = StreamedReply("echo", text=reply)
    one.end("done", 1.0)
    return Exchange(question, (), [one])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "abc"),
        ("abc", ""),
        ("<p>one</p>", "<p>one two</p>"),
        ("aaaa", "aaaaaa"),
        ("<p>\U0001f600</p>", "<p>\U0001f600\U0001f601 \u00e9</p>"),
        ("same", "same"),
    ],
)
def test_a_delta_makes_the_new_of_the_old(old: str, new: str) -> None:
    assert Browser._applied(old, delta(old, new)) == new


def test_a_delta_holds_only_what_is_new() -> None:
    assert delta("<p>one</p>", "<p>one two</p>") == (6, 4, " two")


async def test_an_answer_of_forty_tokens_costs_little(services: Services) -> None:
    """45 kB they were, when each change carried the answer whole."""
    service, conversation, browser = ChatService(services), ChatState(), Browser()
    handlers = Handlers(services, CHAT_TAB)
    question = " ".join(f"word{n}" for n in range(40))
    about = {"text": question, "files": []}
    assert await service.accept(conversation, about, ["echo"], Parameters())
    await browser.read(conversation, handlers)
    assert browser.changes > 3
    assert question in browser.shown and browser.live == ""
    drawn = (await handlers.draw(conversation, None)).settled
    assert list(browser.exchanges.values()) == drawn
    assert browser.received_bytes < 6_000


async def test_a_late_turn_costs_no_more_than_an_early_one(services: Services) -> None:
    handlers, browser = Handlers(services, CHAT_TAB), Browser()
    conversation = ChatState(exchanges=[said(f"q{n}", "long " * 300) for n in range(29)])
    await browser.read(conversation, handlers)
    browser.received_bytes = 0
    assert await ChatService(services).accept(
        conversation, {"text": "short", "files": []}, ["echo"], Parameters()
    )
    await browser.read(conversation, handlers)
    assert len(browser.exchanges) == 30 and "short" in browser.shown
    assert browser.received_bytes < 4_000


async def test_whoever_comes_later_sees_the_answer_grow_too(services: Services) -> None:
    service, conversation = ChatService(services), ChatState()
    handlers, first, second = Handlers(services, CHAT_TAB), Browser(), Browser()
    question = " ".join(f"word{n}" for n in range(60))
    about = {"text": question, "files": []}
    assert await service.accept(conversation, about, ["echo"], Parameters())
    watching = asyncio.create_task(first.read(conversation, handlers))
    while "word5" not in conversation.exchanges[0].replies[0].text:
        await conversation.pulse.wait()
    await second.read(conversation, handlers)
    await watching
    assert question in first.shown and first.shown == second.shown


async def test_one_who_leaves_changes_nothing(services: Services) -> None:
    service, conversation = ChatService(services), ChatState()
    handlers, browser = Handlers(services, CHAT_TAB), Browser()
    question = " ".join(f"word{n}" for n in range(60))
    about = {"text": question, "files": []}
    assert await service.accept(conversation, about, ["echo"], Parameters())
    async for change in changes(conversation, handlers.draw, []):
        browser.apply(change)
        break
    await Browser().read(conversation, handlers)
    (reply,) = conversation.exchanges[0].replies
    assert (reply.state, reply.text) == ("done", question)


async def test_an_answer_is_drawn_while_the_threads_of_the_loop_wait(services: Services) -> None:
    """As they do for a database that is slow to write."""
    handlers, browser, may_go = Handlers(services, CHAT_TAB), Browser(), threading.Event()
    conversation = ChatState(exchanges=[said("question", "answer")])
    waiting = [asyncio.create_task(asyncio.to_thread(may_go.wait)) for _ in range(64)]
    await asyncio.sleep(0)  # until each of them has a thread, or waits for one
    try:
        async with asyncio.timeout(60):
            await browser.read(conversation, handlers)
    finally:
        may_go.set()
        await asyncio.gather(*waiting)
    assert "answer" in browser.shown
