"""The list of past conversations has battles, and tells no name before the vote."""

import json

import pytest

from llava_serve.errors import BattleOpen
from llava_serve.storage.battles import Battles
from llava_serve.storage.identity import Identity
from llava_serve.storage.listing import Entry
from llava_serve.storage.shared import SharedLinks
from llava_serve.web import conversation_export
from llava_serve.web.arena.handlers import ArenaHandlers
from llava_serve.web.chat_state import ChatState
from llava_serve.web.past_conversations import PastConversations, Write
from llava_serve.web.sessions import Known, Place, Sessions
from llava_serve.web.sharing.shared_conversations import Sharing
from tests.web.arena.conftest import Cluster
from tests.web.conftest import settled

NAMES = ("secret-one", "secret-two")
ME = Identity(browser="b" * 64)


async def fought(cluster: Cluster) -> tuple[ArenaHandlers, Place, PastConversations]:
    await cluster.join(*NAMES)
    handlers = ArenaHandlers(cluster.services)
    place = Place(ChatState("arena", browser=ME.browser), Known())
    await handlers.submit(place, {"text": "which?", "files": []}, "")
    await settled(place.conversation)
    services = cluster.services
    sessions = Sessions(services.store, services.media)
    return handlers, place, PastConversations(services, sessions, frozenset())


async def listed(past: PastConversations) -> list[Entry]:
    return (await past.entries(ME, "", 50))[0]


async def test_a_battle_is_listed_by_its_question(cluster: Cluster) -> None:
    _, _, past = await fought(cluster)
    (entry,) = await listed(past)
    assert (entry.kind, entry.title) == ("arena", "which?")
    assert (await past.entries(ME, "secret", 50))[0] == []


@pytest.mark.parametrize("write", [conversation_export.as_json, conversation_export.as_page])
async def test_a_battle_is_saved_after_its_vote_only(cluster: Cluster, write: Write) -> None:
    handlers, place, past = await fought(cluster)
    with pytest.raises(BattleOpen):
        await past.export(ME, place.conversation.id, write)
    await handlers.elect("a", place, "")
    text = await past.export(ME, place.conversation.id, write)
    assert all(name in text for name in NAMES)


async def test_a_battle_is_shared_after_its_vote_only(cluster: Cluster) -> None:
    handlers, place, past = await fought(cluster)
    links = Sharing(past, cluster.services)
    with pytest.raises(BattleOpen):
        await links.make(ME, place.conversation.id)
    assert SharedLinks(cluster.services.store).tokens(ME, [place.conversation.id]) == {}
    await handlers.elect("a", place, "")
    assert "Shared by a link" in await links.make(ME, place.conversation.id)


async def test_a_saved_battle_comes_back_as_a_comparison(cluster: Cluster) -> None:
    handlers, place, past = await fought(cluster)
    await handlers.elect("a", place, "")
    text = await past.export(ME, place.conversation.id, conversation_export.as_json)
    assert json.loads(text)["kind"] == "compare"
    kind, _ = await past.add(ME, text.encode())
    assert kind == "compare"


async def test_a_battle_that_was_deleted_keeps_its_vote(cluster: Cluster) -> None:
    handlers, place, past = await fought(cluster)
    await handlers.elect("a", place, "")
    await past.delete(ME, place.conversation.id)
    assert await listed(past) == []
    assert sum(one.votes for one in Battles(cluster.services.store).tallies()) == 1
