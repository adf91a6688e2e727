"""Past conversations while tabs show them: what is being made, and what they still need, stays."""

import asyncio
from pathlib import Path

import pytest
from PIL import Image

from llava_serve.errors import ConversationBusy, ConversationUnknown
from llava_serve.storage.identity import Identity
from llava_serve.storage.media import StoredFile
from llava_serve.web import conversation_export
from llava_serve.web.chat_service import ChatService, Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.file_gate import FileGate
from llava_serve.web.parameters import Parameters
from llava_serve.web.past_conversations import PastConversations
from llava_serve.web.sessions import Address, Session, Sessions
from tests.web.conftest import settled

BROWSER = Identity(browser="b" * 64)


@pytest.fixture
def sessions(services: Services) -> Sessions:
    return Sessions(services.store, services.media)


@pytest.fixture
def past(services: Services, sessions: Sessions) -> PastConversations:
    return PastConversations(services, sessions, frozenset())


@pytest.fixture
def image(upload_folder: Path) -> Path:
    (upload_folder / "a").mkdir(parents=True)
    Image.new("RGB", (6, 4)).save(upload_folder / "a" / "dot.png")
    return upload_folder / "a" / "dot.png"


async def tab(sessions: Sessions, name: str) -> Session:
    return await sessions.of(name, Address(), browser=BROWSER.browser)


async def ask(services: Services, conversation: ChatState, words: int, *files: Path) -> None:
    about = {"text": "word " * words, "files": [str(file) for file in files]}
    assert await ChatService(services).accept(conversation, about, ["echo"], Parameters())


def is_there(services: Services, file: StoredFile) -> bool:
    return services.media.path(file.filename).is_file()


async def test_an_answer_that_is_made_must_end_first(
    services: Services, sessions: Sessions, past: PastConversations
) -> None:
    conversation = (await tab(sessions, "one")).chat.conversation
    await ask(services, conversation, 500)
    while not (await past.entries(BROWSER, "", 1))[0]:  # until it is written down
        await conversation.pulse.wait()
    with pytest.raises(ConversationBusy):
        await past.delete(BROWSER, conversation.id)
    with pytest.raises(ConversationBusy):
        await past.export(BROWSER, conversation.id, conversation_export.as_json)
    conversation.stop()
    await settled(conversation)
    assert "word" in await past.export(BROWSER, conversation.id, conversation_export.as_json)
    await past.delete(BROWSER, conversation.id)


async def test_tabs_that_show_what_is_deleted_become_empty_and_go_on(
    services: Services, sessions: Sessions, past: PastConversations
) -> None:
    conversation = (await tab(sessions, "one")).chat.conversation
    await ask(services, conversation, 2)
    await settled(conversation)
    version = conversation.version
    await past.delete(BROWSER, conversation.id)
    assert conversation.exchanges == [] and conversation.version > version
    assert not conversation.is_busy
    await ask(services, conversation, 3)
    await settled(conversation)
    ((entry,), _) = await past.entries(BROWSER, "", 9)
    assert entry.title == "word word word"


async def test_a_file_that_an_open_conversation_has_stays(
    services: Services, sessions: Sessions, past: PastConversations, image: Path
) -> None:
    one = (await tab(sessions, "one")).chat.conversation
    other = (await tab(sessions, "two")).chat.conversation
    await ask(services, one, 2, image)
    await settled(one)
    (file,) = one.exchanges[0].files
    other.exchanges.append(one.exchanges[0].snapshot())  # as if the database had refused it
    await past.delete(BROWSER, one.id)
    assert is_there(services, file)


async def test_a_file_of_the_page_itself_stays(
    services: Services, sessions: Sessions, image: Path
) -> None:
    example = services.media.put(image)
    past = PastConversations(services, sessions, frozenset({example.filename}))
    conversation = (await tab(sessions, "one")).chat.conversation
    await ask(services, conversation, 2, image)
    await settled(conversation)
    await past.delete(BROWSER, conversation.id)
    assert is_there(services, example)


async def test_a_file_that_nobody_has_is_removed(
    services: Services, sessions: Sessions, past: PastConversations, image: Path
) -> None:
    conversation = (await tab(sessions, "one")).chat.conversation
    await ask(services, conversation, 2, image)
    await settled(conversation)
    (file,) = conversation.exchanges[0].files
    with pytest.raises(ConversationUnknown):
        await past.delete(Identity(browser="c" * 64), conversation.id)
    assert is_there(services, file)
    await past.delete(BROWSER, conversation.id)
    assert not is_there(services, file)


async def test_no_file_is_removed_while_one_arrives() -> None:
    gate, said = FileGate(), []

    async def remove() -> None:
        async with gate.removing():
            said.append("removed")

    async def arrive() -> None:
        async with gate.arriving():
            said.append("arrived")

    async with gate.arriving():
        removing = asyncio.create_task(remove())
        await asyncio.sleep(0)
        arriving = asyncio.create_task(arrive())
        await asyncio.sleep(0)
        said.append("first arrived")
    await asyncio.gather(removing, arriving)
    assert said == ["first arrived", "removed", "arrived"]
