"""A question from the composer to the database, without a browser."""

import json
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from PIL import Image

from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import BadRequest
from llava_serve.storage import export
from llava_serve.web.asking import Asking, Services
from llava_serve.web.conversation import Conversation
from llava_serve.web.parameters import Parameters

PLAIN = Parameters(temperature=0.0, top_p=1.0, max_tokens=None, seed=None, system="")


def message(text: str, *files: Path) -> dict[str, Any]:
    return {"text": text, "files": [str(file) for file in files]}


async def ask(asking: Asking, conversation: Conversation, text: str) -> int:
    """Ask and read the answer; return how many updates there were."""
    assert await asking.accept(conversation, message(text), ["echo"])
    return len([update async for update in asking.stream(conversation, PLAIN)])


async def test_an_answer_comes_whole_in_fewer_updates_than_tokens(services: Services) -> None:
    conversation = Conversation()
    text = " ".join(f"word{n}" for n in range(100))
    updates = await ask(Asking(services, "chat"), conversation, text)
    assert 2 <= updates < 100
    assert conversation.exchanges[0].answers[0].text == text


async def test_usage_and_timings_are_known_afterwards(services: Services) -> None:
    conversation = Conversation()
    await ask(Asking(services, "chat"), conversation, "one two three")
    (answer,) = conversation.exchanges[0].answers
    assert (answer.state, answer.finish_reason) == ("done", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens) == (3, 3)
    assert answer.time_to_first_token_s is not None and answer.tokens_per_s is not None


async def test_stop_keeps_what_arrived(services: Services, engine: EchoEngine) -> None:
    asking, conversation = Asking(services, "chat"), Conversation()
    assert await asking.accept(conversation, message("word " * 1000), ["echo"])
    async for exchange in asking.stream(conversation, PLAIN):
        if exchange.answers[0].text:
            conversation.stop()
    (answer,) = conversation.exchanges[0].answers
    assert (answer.state, conversation.running) == ("stopped", None)
    assert answer.text.startswith("word")
    assert len(answer.text) < 5000


async def test_stop_before_the_beginning_asks_nobody(services: Services) -> None:
    asking, conversation = Asking(services, "chat"), Conversation()
    assert await asking.accept(conversation, message("hello"), ["echo"])
    conversation.stop()
    assert [update async for update in asking.stream(conversation, PLAIN)] == []
    assert conversation.exchanges[0].answers[0].state == "stopped"


async def test_a_model_that_fails_leaves_the_others_alone(services: Services) -> None:
    asking, conversation = Asking(services, "compare"), Conversation()
    assert await asking.accept(conversation, message("hello"), ["echo", "missing"])
    async for _ in asking.stream(conversation, PLAIN):
        pass
    good, bad = conversation.exchanges[0].answers
    assert (good.state, good.text) == ("done", "hello")
    assert bad.error is not None and bad.error.code == "model_not_found"


async def test_a_refused_question_changes_nothing_but_the_notice(services: Services) -> None:
    asking, conversation = Asking(services, "chat"), Conversation()
    assert not await asking.accept(conversation, message("  "), ["echo"])
    assert isinstance(conversation.notice, BadRequest)
    assert conversation.exchanges == []


async def test_a_file_that_was_not_uploaded_is_refused(services: Services, tmp_path: Path) -> None:
    """A browser can name any path; only files in the upload folder are uploads."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (4, 4)).save(secret)
    conversation = Conversation()
    asking = Asking(services, "chat")
    assert not await asking.accept(conversation, message("show me", secret), ["echo"])
    assert conversation.notice is not None and "not uploaded" in conversation.notice.message


async def test_turns_and_votes_are_kept(services: Services) -> None:
    asking, conversation = Asking(services, "chat"), Conversation()
    await ask(asking, conversation, "one")
    await asking.vote(conversation, "down", "noted")
    await asking.again(conversation, ["echo"])
    async for _ in asking.stream(conversation, PLAIN):
        pass
    (kept,) = map(json.loads, export.lines(services.store))
    assert [turn["replaced"] for turn in kept["turns"]] == [False, True, False]
    assert kept["turns"][1]["details"]["parameters"] == {
        "temperature": 0.0,
        "top_p": 1.0,
        "system": "",
    }
    assert kept["votes"][0]["turn"] == kept["turns"][1]["id"]


async def test_a_database_that_fails_is_told_and_the_answer_still_comes(
    services: Services, tmp_path: Path
) -> None:
    asking, conversation = Asking(services, "chat"), Conversation()
    await ask(asking, conversation, "one")
    database = tmp_path / "conversations.sqlite"
    for file in database.parent.glob("conversations.sqlite*"):
        file.write_bytes(b"not a database " * 1000)
    await ask(asking, conversation, "two")
    assert conversation.exchanges[1].answers[0].text == "two"
    assert conversation.notice is not None and conversation.notice.code == "storage_failed"


async def test_an_upload_is_asked_about_and_kept(services: Services) -> None:
    folder = Path(get_upload_folder()) / "a-test"
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4)).save(folder / "dot.png")
    asking, conversation = Asking(services, "chat"), Conversation()
    assert await asking.accept(conversation, message("what?", folder / "dot.png"), ["echo"])
    async for _ in asking.stream(conversation, PLAIN):
        pass
    assert conversation.exchanges[0].answers[0].text == "[1 picture: 6x4] what?"
    (file,) = conversation.exchanges[0].files
    assert services.media.read(file) == (folder / "dot.png").read_bytes()
