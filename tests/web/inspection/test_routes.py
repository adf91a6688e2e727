"""An inspection is for who may see the conversation, and each failure is told."""

import asyncio
from typing import Any

import pytest
from PIL import Image

from llava_serve.web.chat_service import ChatService
from llava_serve.web.chat_state import ChatState
from llava_serve.web.inspection import routes
from llava_serve.web.parameters import Parameters
from tests.until import until
from tests.web.conftest import settled
from tests.web.inspection.conftest import Asked, SignIn


async def test_nobody_sees_what_was_seen_for_another(
    sign_in: SignIn, saved: dict[str, Any]
) -> None:
    alice, bob = await sign_in("alice"), await sign_in("bob")
    saved["exchanges"][0]["answers"][0]["model"] = "echo"
    name = (await alice.post("/conversations/import", json=saved)).json()["id"]
    place = {"id": name, "exchange": 0, "slot": 0}
    hers = await alice.post("/inspection/answer", json=place)
    his = await bob.post("/inspection/answer", json=place)
    assert (hers.status_code, his.status_code) == (200, 404)
    assert "d&quot;ot&lt;.png" in hers.text and hers.headers["cache-control"] == "no-store"
    assert his.json()["code"] == "conversation_unknown"


@pytest.mark.parametrize(("exchange", "slot"), [(1, 0), (0, 1)])
async def test_an_answer_that_is_not_there_is_refused(
    asked: Asked, exchange: int, slot: int
) -> None:
    await asked.ask("hello", Parameters())
    answer = await asked.saw(exchange, slot)
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation_unknown")


@pytest.mark.parametrize("exchange", [-1, 2**40, "x"])
async def test_a_place_that_is_none_is_refused(asked: Asked, exchange: Any) -> None:
    assert (await asked.saw(exchange)).status_code in (400, 422)


async def test_what_a_worker_refuses_is_told(asked: Asked) -> None:
    await asked.ask("hello", Parameters(seed="seven"))
    answer = await asked.saw(0)
    assert answer.status_code == 400
    assert "Seed" in answer.json()["error"]


async def test_the_panel_is_of_the_answer(asked: Asked) -> None:
    await asked.ask("one two three", Parameters(), "dot.png")
    html = (await asked.saw(0)).text
    assert "Picture 1" in html and "dot.png" in html and "one two three" in html


async def test_what_is_stuck_holds_up_no_inspections_of_models_that_are_served(
    asked: Asked,
) -> None:
    await asked.services.link.poll()
    await asked.ask("hello", Parameters())
    waiting = []
    for model in ("lost", "gone", "away"):
        stuck = ChatState()
        message = {"text": "hello", "files": []}
        assert await ChatService(asked.services).accept(stuck, message, [model], Parameters())
        await settled(stuck)
        asked.stuck.add(model)
        place = {"id": stuck.id, "exchange": 0, "slot": 0}
        waiting.append(asyncio.create_task(asked.http.post("/inspection/answer", json=place)))
    await until(lambda: len(asked.bodies.get("/v1/inspect", ())) == 2, "two inspections")
    assert (await asked.saw(0)).status_code == 200
    assert not any(one.done() for one in waiting)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)


async def test_a_draft_that_cannot_be_counted_soon_is_not_counted(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "DRAFT_S", 0.1)
    await asked.services.link.poll()
    await asked.ask("hello", Parameters())
    (asked.upload_folder / "ab12").mkdir()
    Image.new("RGB", (4, 4)).save(asked.upload_folder / "ab12" / "draft.png")
    asked.stuck.add("echo")
    body = {"id": asked.conversation.id, "files": ["uploads/ab12/draft.png"]}
    answers = [await asked.http.post("/inspection/draft", json=body) for _ in range(3)]
    assert [one.status_code for one in answers] == [204] * 3
    asked.stuck.clear()
    assert (await asked.saw(0)).status_code == 200
