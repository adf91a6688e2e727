"""What the database has of a conversation comes back as it was shown."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from llava_serve.storage.tables import TurnRow
from llava_serve.web.chat_service import ChatService, Services
from llava_serve.web.chat_state import ChatState, Kind
from llava_serve.web.parameters import Parameters
from llava_serve.web.persistence import restored
from tests.web.conftest import settled

ASKED = Parameters(temperature=0.0, top_p=1.0, max_tokens=None, seed="7", system="be brief")


def again(services: Services, conversation: ChatState) -> ChatState:
    row = services.store.conversation(conversation.id)
    assert row is not None
    return restored(row, services.media)


@pytest.fixture
def image(upload_folder: Path) -> Path:
    (upload_folder / "a").mkdir(parents=True)
    Image.new("RGB", (6, 4)).save(upload_folder / "a" / "dot.png")
    return upload_folder / "a" / "dot.png"


async def asked(
    services: Services, kind: Kind, models: list[str], *files: Path, words: int = 2
) -> tuple[ChatService, ChatState]:
    service, conversation = ChatService(services), ChatState(kind)
    about = {"text": "word " * words, "files": [str(file) for file in files]}
    assert await service.accept(conversation, about, models, ASKED)
    return service, conversation


async def test_everything_comes_back(services: Services, image: Path) -> None:
    service, conversation = await asked(services, "chat", ["echo"], image)
    await settled(conversation)
    await service.judge(conversation, (0, 0), "up")
    found = again(services, conversation)
    assert (found.id, found.kind, found.wanted) == (conversation.id, "chat", ("echo",))
    assert found.parameters == ASKED
    ours, theirs = conversation.exchanges[0], found.exchanges[0]
    assert (ours.text, ours.files, ours.turn_id) == (theirs.text, theirs.files, theirs.turn_id)
    (one,), (other,) = ours.replies, theirs.replies
    assert one.vote == other.vote == "up"
    kept = one.details() | {"duration_s": None, "time_to_first_token_s": None}
    assert other.details() | {"duration_s": None, "time_to_first_token_s": None} == kept
    assert one.time_to_first_token_s == pytest.approx(other.time_to_first_token_s)


async def test_a_failure_keeps_its_words(services: Services) -> None:
    _, conversation = await asked(services, "chat", ["missing"])
    await settled(conversation)
    (one,), (other,) = (
        known.exchanges[0].replies for known in (conversation, again(services, conversation))
    )
    assert one.error is not None and other.error is not None
    assert (one.error.code, one.error.message) == (other.error.code, other.error.message)
    assert one.error.remedy == other.error.remedy


async def test_compared_answers_stay_in_their_places(services: Services) -> None:
    service, conversation = await asked(services, "compare", ["echo", "missing"])
    await settled(conversation)
    await service.again(conversation, ["echo", "echo"], ASKED)
    await settled(conversation)
    await service.vote(conversation, "better", 1)
    await service.vote(conversation, "tie")
    (exchange,) = again(services, conversation).exchanges
    assert [reply.model for reply in exchange.replies] == ["echo", "echo"]
    assert exchange.vote == conversation.exchanges[0].vote == "You called it a tie."


async def test_an_image_that_is_gone_is_told(services: Services, image: Path) -> None:
    _, conversation = await asked(services, "chat", ["echo"], image)
    await settled(conversation)
    services.media.delete(conversation.exchanges[0].files[0].filename)
    found = again(services, conversation)
    assert found.exchanges[0].files == ()
    assert found.notice is not None and "'dot.png' is no longer kept" in found.notice.message


async def test_an_answer_whose_process_died_is_interrupted(services: Services) -> None:
    """What is written down of it while it runs is all that a new process has."""
    _, conversation = await asked(services, "chat", ["echo"], words=1000)
    while conversation.exchanges[0].replies[0].turn_id is None:
        await conversation.pulse.wait()
    turn_id = conversation.exchanges[0].replies[0].turn_id
    details = {"state": "running", "error": None}
    conversation.stop()
    await settled(conversation)
    services.store.update_turn(turn_id, "what had come", details)
    services.store.mark_interrupted()
    (reply,) = again(services, conversation).exchanges[0].replies
    assert (reply.state, reply.text) == ("failed", "what had come")
    assert reply.error is not None and reply.error.code == "answer_interrupted"
    assert reply.can_continue


async def test_a_question_whose_process_died_before_its_answer_can_be_asked_again(
    services: Services,
) -> None:
    services.store.add_turns("c1", "chat", [TurnRow(exchange=0, role="user", text="why?")])
    found = again(services, ChatState(id="c1"))
    (reply,) = found.exchanges[0].replies
    assert reply.error is not None and reply.error.code == "answer_interrupted"
    await ChatService(services).again(found, ["echo"], ASKED)
    await settled(found)
    assert found.exchanges[0].replies[0].text == "why?"


async def test_a_server_that_stops_says_so_in_the_answer(services: Services) -> None:
    _, conversation = await asked(services, "chat", ["echo"], words=1000)
    while not conversation.exchanges[0].replies[0].text:
        await conversation.pulse.wait()
    await services.running.stop_all()
    (reply,) = again(services, conversation).exchanges[0].replies
    assert reply.text.startswith("word")
    assert reply.error is not None and reply.error.code == "answer_interrupted"


async def test_a_restored_conversation_goes_on(services: Services) -> None:
    service, conversation = await asked(services, "chat", ["echo"])
    await settled(conversation)
    found = again(services, conversation)
    about = {"text": "and more", "files": []}
    assert await service.accept(found, about, ["echo"], replace(ASKED, system=""))
    await settled(found)
    assert [one.text for one in again(services, found).exchanges] == ["word word", "and more"]
    assert again(services, found).parameters.system == ""
