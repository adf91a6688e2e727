"""A tab's conversations stay its own, and are found again by their ids."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_serve.errors import ConversationUnknown, StorageFailed
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import TurnRow
from llava_serve.web import sessions
from llava_serve.web.sessions import Address, Sessions

NOWHERE = Address()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(default_url(tmp_path))
    store.create_tables()
    return store


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Callable[..., Sessions]:
    media = MediaStore(tmp_path / "media", 1_000_000)
    return lambda clock=Clock(): Sessions(store, media, clock)  # noqa: B008 (one that stands still)


async def test_a_tab_has_its_own_conversations(make: Callable[..., Sessions]) -> None:
    known = make()
    one = await known.of("one", Address(models=("a", "b")))
    other = await known.of("other", NOWHERE)
    assert one.chat.conversation.wanted == ("a",)
    assert one.compare.conversation.wanted == ("a", "b")
    assert one.chat.conversation.id != other.chat.conversation.id
    assert await known.of("one", NOWHERE) is one


async def test_a_tab_that_slept_through_the_night_has_lost_nothing(
    make: Callable[..., Sessions],
) -> None:
    clock = Clock()
    known = make(clock)
    mine = await known.of("one", NOWHERE)
    clock.now = sessions.IDLE_S - 1.0
    await known.of("other", NOWHERE)
    assert await known.of("one", NOWHERE) is mine


async def test_a_tab_that_was_away_too_long_finds_what_was_kept(
    make: Callable[..., Sessions], store: Store
) -> None:
    clock = Clock()
    known = make(clock)
    conversation = (await known.of("one", NOWHERE)).chat.conversation
    store.add_turns(conversation.id, "chat", [TurnRow(exchange=0, role="user", text="hello")])
    address = Address(chat=conversation.id)
    del conversation
    clock.now = sessions.IDLE_S + 1.0
    await known.of("other", NOWHERE)
    found = (await known.of("one", address)).chat.conversation
    assert [exchange.text for exchange in found.exchanges] == ["hello"]


async def test_two_tabs_at_one_address_show_one_conversation(
    make: Callable[..., Sessions], store: Store
) -> None:
    store.add_turns("c1", "chat", [TurnRow(exchange=0, role="user", text="hello")])
    known, address = make(), Address(chat="c1")
    one, other = await asyncio.gather(known.of("one", address), known.of("other", address))
    assert one.chat.conversation is other.chat.conversation
    assert one.chat is not other.chat


async def test_an_id_that_is_unknown_is_told_and_not_taken(make: Callable[..., Sessions]) -> None:
    """Whoever sends another an address must not know what that one will ask there."""
    chosen = "0" * 32
    conversation = (await make().of("one", Address(chat=chosen))).chat.conversation
    assert conversation.id != chosen
    assert isinstance(conversation.notice, ConversationUnknown)


@pytest.fixture
def broken(store: Store, tmp_path: Path) -> None:
    store.close()
    for file in tmp_path.glob("conversations.sqlite*"):
        file.write_bytes(b"not a database " * 1000)


@pytest.mark.usefixtures("broken")
async def test_a_database_that_cannot_be_read_is_told(make: Callable[..., Sessions]) -> None:
    conversation = (await make().of("one", Address(chat="0" * 32))).chat.conversation
    assert isinstance(conversation.notice, StorageFailed)


async def test_the_tab_that_was_silent_longest_makes_room(make: Callable[..., Sessions]) -> None:
    known = make()
    first, second = await known.of("first", NOWHERE), await known.of("second", NOWHERE)
    await known.of("first", NOWHERE)
    for number in range(sessions.MOST - 1):
        await known.of(str(number), NOWHERE)
    assert await known.of("first", NOWHERE) is first
    assert await known.of("second", NOWHERE) is not second
