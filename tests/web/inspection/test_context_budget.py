"""A draft is counted as its question will be, by the model with the least context; none is kept."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from llava_serve.engines.echo import CONTEXT_LENGTH
from llava_serve.http import serving
from llava_serve.protocol.model_card import ModelCard
from llava_serve.web.app import build_app
from llava_serve.web.chat_state import ChatState, Exchange, Kind
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.inspection.context_budget import shown, smallest
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import StreamedReply
from tests.web.conftest import MakeServices
from tests.web.inspection.conftest import Asked, SignIn

PARAMETERS = Parameters(system="be brief")


def upload(folder: Path, name: str, size: tuple[int, int] = (5, 5)) -> str:
    """Put a picture where uploads lie; return how browsers know it."""
    (folder / "ab12").mkdir(exist_ok=True)
    Image.new("RGB", size, (0, 90, 0)).save(folder / "ab12" / name)
    return f"uploads/ab12/{name}"


async def counted(asked: Asked, *names: str) -> httpx.Response:
    body = {"id": asked.conversation.id, "files": list(names)}
    return await asked.http.post("/inspection/draft", json=body)


def kept(asked: Asked) -> set[Path]:
    return {path for path in asked.services.media.root.rglob("*") if path.is_file()}


async def test_a_draft_costs_what_its_question_then_takes(asked: Asked) -> None:
    asked.conversation.wanted = ("echo",)
    await asked.services.link.poll()
    await asked.ask("one two three", PARAMETERS, "dot.png")
    before = kept(asked)
    name = upload(asked.upload_folder, "draft.png")
    told = (await counted(asked, name, name)).json()
    assert kept(asked) == before
    assert told["media"] == [{"type": "image", "tokens": 1}] * 2
    assert (told["model"], told["context"]) == ("echo", CONTEXT_LENGTH)
    await asked.ask("", PARAMETERS, "ab12/draft.png", "ab12/draft.png")
    (reply,) = asked.conversation.exchanges[1].replies
    assert reply.prompt_tokens == CONTEXT_LENGTH - told["left"]


async def test_without_files_no_worker_is_asked(asked: Asked) -> None:
    asked.conversation.wanted = ("echo",)
    await asked.services.link.poll()
    await asked.ask("one two three", PARAMETERS)
    told = (await counted(asked)).json()
    (reply,) = asked.conversation.exchanges[0].replies
    assert (reply.prompt_tokens, reply.completion_tokens) == (5, 3)
    assert (told["media"], told["left"]) == ([], CONTEXT_LENGTH - 8)
    assert "/v1/inspect" not in asked.bodies


async def test_what_does_not_fit_is_less_than_nothing(asked: Asked) -> None:
    await asked.services.link.poll()
    await asked.ask("word " * (CONTEXT_LENGTH - 1), Parameters())
    told = (await counted(asked, upload(asked.upload_folder, "draft.png"))).json()
    assert told["left"] == -1


@pytest.mark.parametrize("name", ["uploads/ab12/other.png", "uploads/../x.png", "/etc/passwd"])
async def test_no_other_file_is_counted(asked: Asked, name: str) -> None:
    await asked.ask("hello", Parameters())
    answer = await counted(asked, name)
    assert (answer.status_code, answer.json()["code"]) == (400, "media_unreadable")


async def test_files_beyond_the_limit_are_sent_to_nobody(asked: Asked) -> None:
    await asked.services.link.poll()
    await asked.ask("hello", Parameters())
    name = upload(asked.upload_folder, "large.bmp", (640, 480))
    assert (await counted(asked, name)).json()["code"] == "body_too_large"
    assert "/v1/inspect" not in asked.bodies


async def test_a_draft_for_anothers_conversation_is_refused(
    sign_in: SignIn, saved: dict[str, Any]
) -> None:
    alice, bob = await sign_in("alice"), await sign_in("bob")
    name = (await alice.post("/conversations/import", json=saved)).json()["id"]
    body = {"id": name, "files": []}
    assert (await bob.post("/inspection/draft", json=body)).status_code == 404


async def test_a_worker_that_tells_nothing_leaves_the_cost_unknown(
    make_services: MakeServices, upload_folder: Path, saved: dict[str, Any]
) -> None:
    app, card = FastAPI(), card_of("a", 100)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card.model_dump()]}

    async with serving.served(app) as address:
        services = make_services(address)
        page = build_app(services)
        async with (
            serving.served(page.app, page.before_stop) as page_address,
            httpx.AsyncClient(base_url=page_address, trust_env=False, timeout=60) as http,
        ):
            await http.get("/")  # which makes it a browser with conversations of its own
            await services.link.poll()
            saved["exchanges"][0]["answers"][0]["model"] = "a"
            name = (await http.post("/conversations/import", json=saved)).json()["id"]
            body = {"id": name, "files": [upload(upload_folder, "draft.png")]}
            assert (await http.post("/inspection/draft", json=body)).status_code == 204


def card_of(name: str, context: int) -> ModelCard:
    return ModelCard(
        id=name,
        context_length=context,
        accepts_images=True,
        accepts_video=True,
        engine="echo",
    )


@pytest.mark.parametrize(("kind", "found"), [("compare", (1, "b")), ("chat", (0, "a"))])
def test_the_model_with_the_least_context_is_the_one_that_counts(
    kind: Kind, found: tuple[int, str]
) -> None:
    link = ControllerLink(["http://127.0.0.1:9"])
    link.cards = (card_of("a", 300), card_of("b", 200), card_of("c", 250))
    wanted = ("a", "b", "c") if kind == "compare" else ("a",)
    conversation = ChatState(kind, wanted=wanted)
    slot_and_card = smallest(conversation, link)
    assert slot_and_card is not None
    assert (slot_and_card[0], slot_and_card[1].id) == found


def test_a_comparison_shows_what_its_smallest_has_used() -> None:
    link = ControllerLink(["http://127.0.0.1:9"])
    link.cards = (card_of("a", 300), card_of("b", 200))
    replies = [StreamedReply("a", prompt_tokens=1), StreamedReply("b", prompt_tokens=150)]
    conversation = ChatState("compare", exchanges=[Exchange("?", (), replies)])
    html = shown(conversation, link)
    assert "150 of 200 tokens used" in html
    link.cards = ()
    assert shown(conversation, link) == ""
