"""Branches are found again in the database, and those of older versions too."""

from typing import Any

import pytest

from llava_serve.errors import WorkerLost
from llava_serve.storage.tables import TurnRow
from llava_serve.web.branches.tree import shown_exchanges
from llava_serve.web.branches.versions import every
from llava_serve.web.chat_service import ChatService, Services
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.parameters import Parameters
from llava_serve.web.persistence import restored
from tests.web.conftest import settled

PLAIN = Parameters(max_tokens=None)


def rows(*turns: tuple[int, str, str, bool], **parents: int) -> list[TurnRow]:
    """Return rows of (exchange, role, text, replaced); `parents` are by text."""
    return [
        TurnRow(
            id=number,
            exchange=exchange,
            role="user" if role == "q" else "assistant",
            text=text,
            replaced=replaced,
            parent_id=parents.get(text),
        )
        for number, (exchange, role, text, replaced) in enumerate(turns, start=1)
    ]


def read(turns: list[TurnRow]) -> list[Exchange]:
    def make(question: TurnRow, answers: Any) -> Exchange:
        said = " ".join([question.text, *(turn.text for turn in answers)])
        return Exchange(said, (), turn_id=question.id)

    return shown_exchanges(turns, make)


def test_an_edit_of_an_older_version_is_a_branch() -> None:
    """Its exchanges had numbers, and an edited one the number of the one before."""
    turns = rows(
        (0, "q", "one", False),
        (0, "a", "1", False),
        (1, "q", "two", True),
        (1, "a", "2", True),
        (1, "q", "deux", False),
        (1, "a", "II", False),
        (3, "q", "three", False),  # 2 could not be written down
        (3, "a", "3", False),
    )
    shown = read(turns)
    assert [one.text for one in shown] == ["one 1", "deux II", "three 3"]
    assert [one.text for one in shown[1].versions] == ["two 2", "deux II"]


def test_where_nothing_is_shown_the_newest_is() -> None:
    """A process ended after it had hidden one version, and before it wrote the next."""
    shown = read(rows((0, "q", "one", True), (0, "q", "two", True), (1, "q", "three", True)))
    assert [one.text for one in shown] == ["two", "three"]


def test_a_parent_decides_before_any_number() -> None:
    turns = rows(
        (0, "q", "a", True),
        (0, "q", "b", False),
        (1, "q", "after-a", True),
        (0, "a", "late-a", True),
        (1, "q", "after-b", False),
        **{"after-a": 1, "late-a": 1, "after-b": 2},
    )
    shown = read(turns)
    assert [one.text for one in shown] == ["b", "after-b"]
    first = shown[0].versions[0]
    assert first.text == "a late-a" and [one.text for one in first.tail] == ["after-a"]


class Talk:
    """One conversation that is asked, and found again in the database."""

    def __init__(self, services: Services, models: list[str]) -> None:
        self.services, self.models = services, models
        self.service = ChatService(services)
        self.state = ChatState("chat" if len(models) == 1 else "compare")

    async def ask(self, text: str, instead_of: int | None = None) -> None:
        message: dict[str, Any] = {"text": text, "files": []}
        if instead_of is not None:
            message["instead_of"] = self.state.exchanges[instead_of]
        assert await self.service.accept(self.state, message, self.models, PLAIN)
        await settled(self.state)

    async def again(self) -> None:
        await self.service.again(self.state, self.models, PLAIN)
        await settled(self.state)

    async def show(self, index: int, version: int) -> None:
        await self.service.show(self.state, index, self.state.exchanges[index].versions[version])

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.state.exchanges]

    def reload(self) -> None:
        row = self.services.store.conversation(self.state.id)
        assert row is not None
        self.state = restored(row, self.services.media)


@pytest.mark.parametrize("models", [["echo"], ["echo", "echo"]], ids=["chat", "compare"])
async def test_branches_come_back_and_go_on(services: Services, models: list[str]) -> None:
    talk = Talk(services, models)
    for text in ("one", "two", "three"):
        await talk.ask(text)
    await talk.ask("deux", instead_of=1)
    await talk.ask("trois")
    await talk.again()
    assert talk.texts == ["one", "deux", "trois"]
    for _ in range(2):
        assert talk.texts == ["one", "deux", "trois"]
        assert [len(one.versions) for one in talk.state.exchanges] == [0, 2, 2]
        talk.reload()
    await talk.show(1, 0)
    for _ in range(2):
        assert talk.texts == ["one", "two", "three"]
        assert [len(one.replies) for one in talk.state.exchanges] == [len(models)] * 3
        talk.reload()
    await talk.ask("four")
    talk.reload()
    assert talk.texts == ["one", "two", "three", "four"]
    await talk.show(1, 1)
    talk.reload()
    assert talk.texts == ["one", "deux", "trois"]
    assert len(list(every(talk.state.exchanges))) == 7


async def test_a_vote_stays_with_its_version(services: Services) -> None:
    talk = Talk(services, ["echo"])
    await talk.ask("one")
    await talk.service.judge(talk.state, (0, 0), "up")
    await talk.again()
    assert talk.state.exchanges[0].replies[0].vote is None
    await talk.show(0, 0)
    talk.reload()
    assert talk.state.exchanges[0].replies[0].vote == "up"


async def test_an_answer_without_a_word_is_no_version(services: Services) -> None:
    talk = Talk(services, ["missing"])
    await talk.ask("one")
    talk.models = ["echo"]
    await talk.again()
    for _ in range(2):
        assert talk.state.exchanges[0].versions == []
        assert talk.state.exchanges[0].replies[0].text == "one"
        talk.reload()


async def test_half_an_answer_is_a_version_beside_the_whole_ones(services: Services) -> None:
    talk = Talk(services, ["echo", "echo"])
    await talk.ask("one")
    half = talk.state.exchanges[0].replies[1]
    half.text, half.error = "on", WorkerLost("http://w", "gone")
    await talk.again()
    before, after = talk.state.exchanges[0].versions
    assert [reply.text for reply in before.replies] == ["one", "on"]
    assert [reply.text for reply in after.replies] == ["one", "one"]
    talk.reload()
    assert [reply.text for reply in talk.state.exchanges[0].replies] == ["one", "one"]


async def test_a_model_is_told_the_branch_that_is_shown(services: Services) -> None:
    """The engine repeats the last question; what it was told is counted in tokens."""
    talk = Talk(services, ["echo"])
    await talk.ask("a b c d e f g h")
    await talk.ask("one", instead_of=0)
    await talk.ask("two")
    assert talk.texts == ["one", "two"]
    assert talk.state.exchanges[1].replies[0].prompt_tokens == 3
