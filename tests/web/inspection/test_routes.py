"""An inspection is for who may see the conversation, and each failure is told."""

from typing import Any

import pytest

from llava_serve.web.parameters import Parameters
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
    assert "seed" in answer.json()["error"]


async def test_the_panel_is_of_the_answer(asked: Asked) -> None:
    await asked.ask("one two three", Parameters(), "dot.png")
    html = (await asked.saw(0)).text
    assert "Picture 1" in html and "dot.png" in html and "one two three" in html
