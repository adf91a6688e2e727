"""The route that compares two answers, and who may ask it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from llava_serve.http import serving
from llava_serve.storage.identity import Identity
from llava_serve.storage.tables import TurnRow
from llava_serve.web.app import build_app
from llava_serve.web.chat_service import Services
from tests.web.conftest import MakeServices

ID = "0" * 32


@pytest.fixture
def alone(make_services: MakeServices) -> Services:
    services = make_services("http://127.0.0.1:9")
    rows = [TurnRow(exchange=0, role="user", text="q")]
    for slot, text in enumerate(("a red cat", "a blue cat")):
        details = {"state": "done"}
        rows.append(
            TurnRow(exchange=0, slot=slot, role="assistant", text=text, model="m", details=details)
        )
    services.store.add_turns(ID, "compare", rows)
    services.store.add_turns(
        "1" * 32,
        "compare",
        [TurnRow(exchange=0, role="user", text="x")],
        Identity(owner="somebody"),
    )
    return services


@pytest.fixture
async def http(alone: Services) -> AsyncIterator[httpx.AsyncClient]:
    page = build_app(alone)
    async with (
        serving.served(page.app, page.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False) as client,
    ):
        yield client


def url(conversation: str, **asked: int) -> str:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    return f"/comparisons/{conversation}/difference?{query}"


async def test_two_answers_are_compared(http: httpx.AsyncClient) -> None:
    answer = await http.get(url(ID, exchange=0, one=0, other=1))
    assert answer.status_code == 200
    assert "<del>" in answer.text and "red" in answer.text and "<ins>" in answer.text


@pytest.mark.parametrize(
    ("conversation", "asked", "status"),
    [
        ("f" * 32, {"exchange": 0, "one": 0, "other": 1}, 404),
        ("1" * 32, {"exchange": 0, "one": 0, "other": 1}, 404),
        (ID, {"exchange": 1, "one": 0, "other": 1}, 400),
        (ID, {"exchange": 0, "one": 0, "other": 5}, 400),
        (ID, {"exchange": 0, "one": 0, "other": 6}, 400),
        (ID, {"exchange": -1, "one": 0, "other": 1}, 400),
    ],
)
async def test_what_is_not_there_or_anothers_is_refused(
    http: httpx.AsyncClient, conversation: str, asked: dict[str, int], status: int
) -> None:
    answer = await http.get(url(conversation, **asked))
    assert answer.status_code == status and "cat" not in answer.text
