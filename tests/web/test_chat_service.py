"""A question from the composer to the database, without a browser."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from PIL import Image

from llava_serve import logs
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import QuestionEmpty, UnsupportedField
from llava_serve.http import serving
from llava_serve.request import Delta, GenerateRequest
from llava_serve.storage import export
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.web.chat_service import ChatService, Services
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.moderation import Moderation
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import StreamedReply
from llava_serve.web.streaming import ActiveReplies
from tests.web.conftest import MakeServices, settled

PLAIN = Parameters(temperature=0.0, top_p=1.0, max_tokens=None, seed="", system="")


def message(text: str, *files: Path) -> dict[str, Any]:
    return {"text": text, "files": [str(file) for file in files]}


async def ask(service: ChatService, conversation: ChatState, text: str) -> int:
    """Ask and wait for the answer; return how many times there was more of it."""
    assert await service.accept(conversation, message(text), ["echo"], PLAIN)
    return await settled(conversation)


async def test_an_answer_comes_whole(services: Services) -> None:
    conversation = ChatState()
    text = " ".join(f"word{n}" for n in range(100))
    assert await ask(ChatService(services), conversation, text) > 2
    assert conversation.exchanges[0].replies[0].text == text


async def test_usage_and_timings_are_known_afterwards(services: Services) -> None:
    conversation = ChatState()
    await ask(ChatService(services), conversation, "one two three")
    (reply,) = conversation.exchanges[0].replies
    assert (reply.state, reply.finish_reason) == ("done", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (3, 3)
    assert reply.time_to_first_token_s is not None


async def test_stop_keeps_what_arrived(services: Services, engine: EchoEngine) -> None:
    service, conversation = ChatService(services), ChatState()
    assert await service.accept(conversation, message("word " * 1000), ["echo"], PLAIN)
    while not conversation.exchanges[0].replies[0].text:
        await conversation.pulse.wait()
    conversation.stop()
    await settled(conversation)
    (reply,) = conversation.exchanges[0].replies
    assert (reply.state, conversation.running) == ("stopped", None)
    assert reply.text.startswith("word")
    assert len(reply.text) < 5000


async def test_stop_before_the_beginning_asks_nobody(services: Services) -> None:
    service, conversation = ChatService(services), ChatState()
    assert await service.accept(conversation, message("hello"), ["echo"], PLAIN)
    conversation.stop()
    await settled(conversation)
    (reply,) = conversation.exchanges[0].replies
    assert (reply.state, reply.began) == ("stopped", 0.0)


async def test_a_model_that_fails_leaves_the_others_alone(services: Services) -> None:
    service, conversation = ChatService(services), ChatState("compare")
    assert await service.accept(conversation, message("hello"), ["echo", "missing"], PLAIN)
    await settled(conversation)
    good, bad = conversation.exchanges[0].replies
    assert (good.state, good.text) == ("done", "hello")
    assert bad.error is not None and bad.error.code == "model_not_found"


async def test_a_refused_question_changes_nothing_but_the_notice(services: Services) -> None:
    service, conversation = ChatService(services), ChatState()
    assert not await service.accept(conversation, message("  "), ["echo"], PLAIN)
    assert isinstance(conversation.notice, QuestionEmpty)
    assert conversation.exchanges == []


async def test_a_file_that_was_not_uploaded_is_refused(services: Services, tmp_path: Path) -> None:
    """A browser can name any path; only files in the upload folder are uploads."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (4, 4)).save(secret)
    conversation = ChatState()
    service = ChatService(services)
    assert not await service.accept(conversation, message("show me", secret), ["echo"], PLAIN)
    assert conversation.notice is not None and "not uploaded" in conversation.notice.message


async def test_turns_and_votes_are_kept(services: Services) -> None:
    service, conversation = ChatService(services), ChatState()
    await ask(service, conversation, "one")
    await service.judge(conversation, (0, 0), "down")
    await service.again(conversation, ["echo"], PLAIN)
    await settled(conversation)
    (kept,) = map(json.loads, export.lines(services.store))
    assert [turn["replaced"] for turn in kept["turns"]] == [True, True, False, False]
    assert kept["turns"][1]["details"]["parameters"] == {
        "temperature": 0.0,
        "top_p": 1.0,
        "system": "",
    }
    assert kept["votes"][0]["turn"] == kept["turns"][1]["id"]


async def test_a_database_that_fails_is_told_and_the_answer_still_comes(
    services: Services, tmp_path: Path
) -> None:
    service, conversation = ChatService(services), ChatState()
    await ask(service, conversation, "one")
    database = tmp_path / "conversations.sqlite"
    for file in database.parent.glob("conversations.sqlite*"):
        file.write_bytes(b"not a database " * 1000)
    await ask(service, conversation, "two")
    assert conversation.exchanges[1].replies[0].text == "two"
    assert conversation.notice is not None and conversation.notice.code == "storage_failed"


async def test_an_upload_is_asked_about_and_kept(services: Services, upload_folder: Path) -> None:
    folder = upload_folder / "a-test"
    folder.mkdir()
    Image.new("RGB", (6, 4)).save(folder / "dot.png")
    service, conversation = ChatService(services), ChatState()
    assert await service.accept(conversation, message("what?", folder / "dot.png"), ["echo"], PLAIN)
    await settled(conversation)
    assert conversation.exchanges[0].replies[0].text == "[1 picture: 6x4] what?"
    (file,) = conversation.exchanges[0].files
    assert services.media.read(file) == (folder / "dot.png").read_bytes()


def uploaded(folder: Path, name: str = "dot.png", size: tuple[int, int] = (6, 4)) -> Path:
    Image.effect_noise(size, 50).save(folder / name)
    return folder / name


async def test_what_is_too_large_is_not_kept(services: Services, upload_folder: Path) -> None:
    large = uploaded(upload_folder, size=(1000, 900))
    service, conversation = ChatService(services), ChatState()
    assert not await service.accept(conversation, message("what?", large), ["echo"], PLAIN)
    assert conversation.notice is not None and conversation.notice.code == "body_too_large"
    assert not services.media.root.exists()


async def test_an_upload_that_was_removed_meanwhile_is_asked_for_again(
    services: Services, upload_folder: Path
) -> None:
    service, conversation = ChatService(services), ChatState()
    gone = message("what?", upload_folder / "old.png")
    assert not await service.accept(conversation, gone, ["echo"], PLAIN)
    assert conversation.notice is not None and "attach it again" in conversation.notice.message


async def test_a_number_that_no_worker_takes_is_an_error_of_the_answer(services: Services) -> None:
    service, conversation = ChatService(services), ChatState()
    none = replace(PLAIN, max_tokens=0)
    assert await service.accept(conversation, message("hello"), ["echo"], none)
    await settled(conversation)
    (reply,) = conversation.exchanges[0].replies
    assert reply.error is not None and "max_tokens" in reply.error.message


class StoppedWhileRead(MediaStore):
    """A store whose disk is so slow that the user presses Stop meanwhile."""

    conversation: ChatState
    loop: asyncio.AbstractEventLoop

    def read(self, file: StoredFile) -> bytes:
        self.loop.call_soon_threadsafe(self.conversation.stop)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result()
        return super().read(file)


async def test_a_stop_while_the_images_are_read_asks_nobody(
    services: Services, upload_folder: Path
) -> None:
    slow = StoppedWhileRead(services.media.root, 1_000_000)
    service, conversation = ChatService(replace(services, media=slow)), ChatState()
    slow.conversation, slow.loop = conversation, asyncio.get_running_loop()
    about = message("what?", uploaded(upload_folder))
    assert await service.accept(conversation, about, ["echo"], PLAIN)
    await settled(conversation)
    (reply,) = conversation.exchanges[0].replies
    assert (reply.state, reply.text) == ("stopped", "")


async def test_an_image_that_cannot_be_read_is_an_error_of_the_answer(
    services: Services, upload_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(logs.add_request_id)
    service, conversation = ChatService(services), ChatState()
    about = message("what?", uploaded(upload_folder))
    assert await service.accept(conversation, about, ["echo"], PLAIN)
    services.media.path(conversation.exchanges[0].files[0].filename).unlink()
    await settled(conversation)
    (reply,) = conversation.exchanges[0].replies
    assert reply.error is not None and reply.error.code == "storage_failed"
    (line,) = [record for record in caplog.records if "storage_failed" in record.getMessage()]
    assert vars(line)["request_id"] == reply.request_id


async def test_a_failure_is_logged_under_the_id_that_the_card_shows(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    caplog.handler.addFilter(logs.add_request_id)
    service, conversation = ChatService(services), ChatState()
    assert await service.accept(conversation, message("hello"), ["missing"], PLAIN)
    await settled(conversation)
    (reply,) = conversation.exchanges[0].replies
    lines = [record for record in caplog.records if "model_not_found" in record.getMessage()]
    assert reply.request_id in {vars(line)["request_id"] for line in lines}
    assert "llava_serve.http.serving" in {line.name for line in lines}


async def test_only_the_answers_that_failed_are_asked_for_again(services: Services) -> None:
    service, conversation = ChatService(services), ChatState("compare")
    models = ["echo", "missing"]
    assert await service.accept(conversation, message("hello"), models, PLAIN)
    await settled(conversation)
    good, bad = conversation.exchanges[0].replies
    await service.again(conversation, models, PLAIN)
    assert conversation.exchanges[0].replies[0] is good
    assert conversation.exchanges[0].replies[1] is not bad
    await settled(conversation)
    (kept,) = map(json.loads, export.lines(services.store))
    replies = [(turn["model"], turn["replaced"]) for turn in kept["turns"][1:]]
    assert replies == [("echo", False), ("missing", True), ("missing", False)]


async def test_a_vote_of_a_comparison_belongs_to_the_answers_it_was_given_on(
    services: Services,
) -> None:
    service, conversation = ChatService(services), ChatState("compare")
    assert await service.accept(conversation, message("hello"), ["echo", "echo"], PLAIN)
    await settled(conversation)
    await service.vote(conversation, "better", 1)
    await service.again(conversation, ["echo", "echo"], PLAIN)
    await settled(conversation)
    assert conversation.exchanges[0].vote is None
    await service.vote(conversation, "tie")
    (kept,) = map(json.loads, export.lines(services.store))
    _, *first, question, third, fourth = [turn["id"] for turn in kept["turns"]]
    votes = [(vote["turn"], vote["model"], vote["compared"]) for vote in kept["votes"]]
    assert votes == [(first[1], "echo", first), (question, None, [third, fourth])]


async def test_a_continued_answer_has_lost_its_numbers_and_its_vote(services: Services) -> None:
    service, conversation = ChatService(services), ChatState()
    short = replace(PLAIN, max_tokens=1)
    assert await service.accept(conversation, message("one two"), ["echo"], short)
    await settled(conversation)
    await service.judge(conversation, (0, 0), "up")
    (reply,) = conversation.exchanges[0].replies
    assert reply.completion_tokens == 1
    await service.resume(conversation, PLAIN)
    (reply,) = conversation.exchanges[0].replies
    facts = reply.details()
    assert (facts["prompt_tokens"], facts["completion_tokens"], reply.vote) == (None, None, None)
    await settled(conversation)
    assert conversation.exchanges[0].vote is None


async def test_two_wishes_at_once_are_one(services: Services) -> None:
    service, conversation = ChatService(services), ChatState()
    short = replace(PLAIN, max_tokens=1)
    assert await service.accept(conversation, message("one two"), ["echo"], short)
    await settled(conversation)
    await asyncio.gather(
        service.resume(conversation, PLAIN), service.again(conversation, ["echo"], PLAIN)
    )
    await settled(conversation)
    (kept,) = map(json.loads, export.lines(services.store))
    assert [turn["replaced"] for turn in kept["turns"]] == [False, True, False]


async def test_a_vote_can_be_changed_and_taken_back_on_any_answer(services: Services) -> None:
    service, conversation = ChatService(services), ChatState()
    await ask(service, conversation, "one")
    await ask(service, conversation, "two")
    for kind in ("up", "down"):
        await service.judge(conversation, (0, 0), kind)
    for kind in ("flag", "flag"):
        await service.judge(conversation, (1, 0), kind)
    assert [one.replies[0].vote for one in conversation.exchanges] == ["down", None]
    (kept,) = map(json.loads, export.lines(services.store))
    votes = [(vote["kind"], vote["counts"]) for vote in kept["votes"]]
    assert votes == [("up", False), ("down", True), ("flag", False), ("withdrawn", False)]


@pytest.mark.parametrize("place", [(1, 0), (0, 1), (0, 0)])
async def test_what_is_no_answer_takes_no_vote(services: Services, place: tuple[int, int]) -> None:
    service, conversation = ChatService(services), ChatState()
    await ask(service, conversation, "one")
    await service.judge(conversation, place, "up" if place != (0, 0) else "better")
    (kept,) = map(json.loads, export.lines(services.store))
    assert kept["votes"] == []


class Strict:
    """A server of the native wire that keeps the requests and refuses a field by its name."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.app = FastAPI()

        @self.app.get("/v1/models")
        async def models() -> dict[str, Any]:
            return {"object": "list", "data": []}

        @self.app.post("/v1/chat/completions")
        async def complete(body: dict[str, Any]) -> JSONResponse:
            self.bodies.append(body)
            error = UnsupportedField("continue_final_message")
            return JSONResponse(error.as_body(), error.status)


async def test_to_continue_sends_the_text_and_a_refusal_says_what_it_means(
    make_services: MakeServices,
) -> None:
    strict, conversation = Strict(), ChatState()
    half = StreamedReply("tiny", text="half an ans")
    half.end("stopped", 1.0)
    conversation.exchanges.append(Exchange("why?", (), [half]))
    async with serving.served(strict.app) as address:
        services = make_services(address)
        async with services.link.opened():
            await ChatService(services).resume(conversation, PLAIN)
            await settled(conversation)
        services.store.close()
    (body,) = strict.bodies
    assert body["continue_final_message"] is True
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "why?"}]},
        {"role": "assistant", "content": "half an ans"},
    ]
    (reply,) = conversation.exchanges[0].replies
    assert reply.error is not None and reply.error.code == "cannot_continue"
    assert reply.text == "half an ans"


class HeldEcho(EchoEngine):
    """An echo engine whose answers stand still until they are let go."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.let_go = asyncio.Event()

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        async with aclosing(super().stream(request)) as deltas:
            async for delta in deltas:
                yield delta
                await self.let_go.wait()


class CountedReads(MediaStore):
    """A store that counts how many files were read."""

    reads = 0

    def read(self, file: StoredFile) -> bytes:
        self.reads += 1
        return super().read(file)


class TestOnePlace:
    """One question is answered at a time, and its answers stand still until they are let go."""

    @pytest.fixture
    def engine(self) -> HeldEcho:
        return HeldEcho()

    @pytest.fixture
    def media(self, services: Services) -> CountedReads:
        return CountedReads(services.media.root, 1_000_000)

    @pytest.fixture
    def service(self, services: Services, media: CountedReads) -> ChatService:
        return ChatService(replace(services, running=ActiveReplies(1), media=media))

    async def _asked(self, service: ChatService, count: int, *files: Path) -> list[ChatState]:
        """Ask questions, and wait until the first has the place and the others are in line."""
        asked = [ChatState("compare") for _ in range(count)]
        for one in asked:
            assert await service.accept(one, message("so it is", *files), ["echo", "echo"], PLAIN)
            while one.running is None:
                await one.pulse.wait()
            while not asked[0].exchanges[0].replies[0].text:  # who comes first has the place
                await asked[0].pulse.wait()
        return asked

    async def test_questions_beyond_the_places_wait_and_can_be_stopped(
        self, service: ChatService, engine: HeldEcho
    ) -> None:
        first, second, third = await self._asked(service, 3)
        states = {reply.state for one in (second, third) for reply in one.exchanges[0].replies}
        assert states == {"waiting"}
        second.stop()
        await settled(second)
        assert {reply.state for reply in second.exchanges[0].replies} == {"stopped"}
        first.stop()
        engine.let_go.set()
        await settled(third)
        assert {reply.state for reply in third.exchanges[0].replies} == {"done"}

    async def test_the_files_of_a_question_in_line_are_not_read_yet(
        self, service: ChatService, engine: HeldEcho, media: CountedReads, upload_folder: Path
    ) -> None:
        first, second = await self._asked(service, 2, uploaded(upload_folder))
        assert media.reads == 1
        engine.let_go.set()
        await settled(first)
        await settled(second)
        assert media.reads == 2
        assert {reply.state for reply in second.exchanges[0].replies} == {"done"}

    async def test_a_server_that_stops_fails_what_is_in_line_too(
        self, service: ChatService
    ) -> None:
        asked = await self._asked(service, 2)
        await service.services.running.stop_all()
        errors = [reply.error for one in asked for reply in one.exchanges[0].replies]
        assert [error.code if error else None for error in errors] == ["answer_interrupted"] * 4


@pytest.fixture
def checking() -> asyncio.Event:
    """Set when the moderation check has begun of a text that says `slow`."""
    return asyncio.Event()


@pytest.fixture
async def moderated(services: Services, checking: asyncio.Event) -> AsyncIterator[Services]:
    """Services whose moderation flags `bad`, and takes for ever over `slow`."""
    app = FastAPI()

    @app.post("/moderations")
    async def moderate(body: dict[str, Any]) -> dict[str, Any]:
        if "slow" in body["input"]:
            checking.set()
            await asyncio.Event().wait()
        flagged = "bad" in body["input"]
        return {"id": "m", "model": "m", "results": [{"flagged": flagged, "categories": {}}]}

    async with serving.served(app, grace_s=0) as address:
        moderation = Moderation("key", base_url=address)
        yield replace(services, moderation=moderation)
        await moderation.close()


@pytest.mark.parametrize(
    ("text", "system"), [("bad", ""), ("good", "be bad")], ids=["question", "system prompt"]
)
async def test_what_moderation_refuses_is_neither_asked_nor_kept(
    moderated: Services, upload_folder: Path, text: str, system: str
) -> None:
    service, conversation = ChatService(moderated), ChatState()
    parameters = replace(PLAIN, system=system)
    about = message(text, uploaded(upload_folder))
    assert not await service.accept(conversation, about, ["echo"], parameters)
    assert conversation.notice is not None and conversation.notice.code == "moderation_refused"
    assert not moderated.media.root.exists()


async def test_a_system_prompt_is_checked_again_with_an_old_question(moderated: Services) -> None:
    service, conversation = ChatService(moderated), ChatState()
    await ask(service, conversation, "good")
    await service.again(conversation, ["echo"], replace(PLAIN, system="be bad"))
    assert conversation.notice is not None and conversation.notice.code == "moderation_refused"
    assert not conversation.is_busy


async def test_nothing_else_happens_while_a_question_is_checked(
    moderated: Services, checking: asyncio.Event
) -> None:
    service, conversation = ChatService(moderated), ChatState()
    await ask(service, conversation, "good")
    accepting = asyncio.create_task(service.accept(conversation, message("slow"), ["echo"], PLAIN))
    await checking.wait()
    assert conversation.is_busy
    await service.again(conversation, ["echo"], PLAIN)
    assert not await service.accept(conversation, message("third"), ["echo"], PLAIN)
    await service.show(conversation, 0, Exchange("another version", ()))
    assert conversation.notice is not None and conversation.notice.code == "conversation_busy"
    assert [one.text for one in conversation.exchanges] == ["good"]
    assert not conversation.exchanges[0].is_open
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    assert not conversation.is_busy


async def test_a_damaged_file_spoils_only_its_own_question(
    services: Services, upload_folder: Path
) -> None:
    service, conversation = ChatService(services), ChatState()
    damaged = uploaded(upload_folder, size=(800, 800))
    whole = uploaded(upload_folder, "whole.png", size=(500, 500))
    damaged.write_bytes(damaged.read_bytes()[:600_000])
    assert await service.accept(conversation, message("what?", damaged), ["echo"], PLAIN)
    await settled(conversation)
    assert await service.accept(conversation, message("and now?", whole), ["echo"], PLAIN)
    await settled(conversation)
    refused, good = (exchange.replies[0] for exchange in conversation.exchanges)
    assert refused.error is not None and refused.error.code == "media_unreadable"
    assert good.text == "[1 picture: 500x500] and now?"
