"""What is imported is checked whole before anything of it is kept."""

import base64
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from llava_serve.errors import ImportRefused
from llava_serve.storage.identity import Identity
from llava_serve.storage.listing import ConversationList
from llava_serve.web import conversation_export, conversation_import
from llava_serve.web.chat_service import Services
from tests.web.conftest import MakeServices

BROWSER = Identity(browser="b" * 64)
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def alone(make_services: MakeServices) -> Services:
    return make_services("http://127.0.0.1:9")


def imported(services: Services, body: bytes) -> str:
    data = conversation_import.read(body)
    limit_bytes = services.max_body_bytes
    return conversation_import.keep(data, services.store, services.media, BROWSER, limit_bytes)


def bytes_of(exchange: dict[str, Any]) -> bytes:
    return base64.b64decode(exchange["files"][0]["url"].partition(",")[2])


def sha256_of(exchange: dict[str, Any]) -> str:
    return hashlib.sha256(bytes_of(exchange)).hexdigest()


def _first(saved: dict[str, Any]) -> dict[str, Any]:
    exchange: dict[str, Any] = saved["exchanges"][0]
    return exchange


REFUSED: dict[str, tuple[Change, str]] = {
    "another format": (lambda one: one.update(format="chatgpt"), "format"),
    "another version": (lambda one: one.update(version=3), "version"),
    "an exchange before the one it follows": (
        lambda one: _first(one).update(follows=1),
        "stands before the one it follows",
    ),
    "two branches at once": (
        lambda one: one["exchanges"].append(_first(one) | {"follows": -1}),
        "do not follow one another",
    ),
    "nothing shown": (lambda one: _first(one).update(shown=False), "no exchange is shown"),
    "bytes that are not there": (
        lambda one: _first(one)["files"][0].update(url="#" + "a" * 64),
        "are not in the file",
    ),
    "nothing said": (lambda one: one.update(exchanges=[]), "exchanges"),
    "an unknown field": (lambda one: one.update(owner="bob"), "owner"),
    "a chat of two models": (lambda one: one.update(kind="chat"), "one answer"),
    "too long a title": (lambda one: one.update(title="x" * 201), "title"),
    "no answer": (lambda one: _first(one).update(answers=[]), "answers"),
    "eight answers": (
        lambda one: _first(one).update(answers=_first(one)["answers"] * 4),
        "answers",
    ),
    "a text that is none": (lambda one: _first(one).update(question=5), "question"),
    "a remote picture": (
        lambda one: _first(one)["files"][0].update(url="http://127.0.0.1:9/x.png"),
        "brings no picture",
    ),
    "damaged bytes": (
        lambda one: _first(one)["files"][0].update(url="data:image/png;base64,!!"),
        "damaged",
    ),
    "bytes of no picture": (
        lambda one: _first(one)["files"][0].update(url="data:image/png;base64,PHN2Zz4="),
        "no picture or video",
    ),
    **{
        f"a path for a name: {name!r}": (
            partial(lambda name, one: _first(one)["files"][0].update(name=name), name),
            "is no name of a file",
        )
        for name in ("/tmp/x.png", "../x.png", "..\\x.png", "x\0.png", ".", "..")
    },
    "too large a picture": (
        lambda one: _first(one)["files"][0].update(
            url=_first(one)["files"][0]["url"] + base64.b64encode(bytes(1_000_002)).decode()
        ),
        "the limit is",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_conversation_is_refused_with_the_reason(
    alone: Services, saved: dict[str, Any], case: str
) -> None:
    change, reason = REFUSED[case]
    change(saved)
    with pytest.raises(ImportRefused) as caught:
        imported(alone, json.dumps(saved).encode())
    assert reason in caught.value.user_message
    assert ConversationList(alone.store).entries(BROWSER) == ([], False)


def test_a_file_counts_each_time_that_it_is_sent(alone: Services, saved: dict[str, Any]) -> None:
    """Or a small file would become gigabytes wherever the conversation is sent or shown."""
    first = _first(saved)
    sent = first | {"files": [first["files"][0] | {"url": "#" + sha256_of(first)}] * 9}
    saved["exchanges"] = [first, *[sent] * 9]
    sent_bytes = (1 + 9 * 9) * len(bytes_of(first))
    enough = replace(alone, max_body_bytes=math.ceil(sent_bytes * 4 / 3))
    imported(enough, json.dumps(saved).encode())
    with pytest.raises(ImportRefused, match="bytes that one request may have"):
        too_few = replace(enough, max_body_bytes=enough.max_body_bytes - 2)
        imported(too_few, json.dumps(saved).encode())
    branches = [{**one, "follows": -1, "shown": at == 0} for at, one in enumerate([first] * 82)]
    saved |= {"version": 2, "exchanges": branches}
    imported(replace(enough, max_body_bytes=sent_bytes // 40), json.dumps(saved).encode())


@pytest.mark.parametrize("body", [b"no json", b"[]", b"", b"\xff", b'"x"', b'{"a":"\\ud800"}'])
def test_what_is_no_json_object_is_refused(alone: Services, body: bytes) -> None:
    with pytest.raises(ImportRefused, match="cannot be imported"):
        imported(alone, body)


def test_all_branches_are_saved_and_come_back(alone: Services, saved: dict[str, Any]) -> None:
    """What has none stays readable for older versions, and a picture is saved once."""
    first = _first(saved)
    plain = alone.store.conversation(imported(alone, json.dumps(saved).encode()))
    assert plain is not None
    whole = json.loads(conversation_export.as_json(plain, "", alone.media))
    assert whole["version"] == 1 and whole["exchanges"] == [first]
    other = first | {"question": "and that?", "follows": -1, "shown": False}
    below = first | {"question": "below that", "files": [], "follows": 1, "shown": False}
    again = first | {"question": "shown below", "files": [], "follows": 0}
    saved |= {"version": 2, "exchanges": [first, other, below, again]}
    row = alone.store.conversation(imported(alone, json.dumps(saved).encode()))
    assert row is not None
    back = json.loads(conversation_export.as_json(row, "", alone.media))
    kept = [
        (one["question"], one.get("follows"), one.get("shown", True)) for one in back["exchanges"]
    ]
    assert kept == [
        (first["question"], None, True),
        ("and that?", -1, False),
        ("shown below", 0, True),
        ("below that", 1, False),
    ]
    urls = [file["url"][:5] for one in back["exchanges"] for file in one["files"]]
    assert urls == ["data:", "#" + row.turns[0].media[0].sha256[:4]]
    page = conversation_export.as_page(row, "", alone.media)
    assert "shown below" in page and "below that" not in page
    imported(alone, json.dumps(back).encode())


def test_a_saved_page_shows_formulas_of_answers(alone: Services, saved: dict[str, Any]) -> None:
    first = _first(saved)
    first["question"], first["answers"][0]["text"] = "$b^2$", "$a^2$"
    row = alone.store.conversation(imported(alone, json.dumps(saved).encode()))
    assert row is not None
    page = conversation_export.as_page(row, "", alone.media)
    assert "<msup><mi>a</mi><mn>2</mn></msup>" in page and "$b^2$" in page
    assert ".formula {" in page and "<script" not in page


def test_nothing_but_what_is_shown_is_saved(alone: Services, saved: dict[str, Any]) -> None:
    name = imported(alone, json.dumps(saved).encode())
    row = alone.store.conversation(name)
    assert row is not None
    alone.store.mark_replaced([turn.id for turn in row.turns if turn.slot == 1])
    row = alone.store.conversation(name)
    assert row is not None
    again = json.loads(conversation_export.as_json(row, "", alone.media))
    (exchange,) = again["exchanges"]
    assert [answer["model"] for answer in exchange["answers"]] == ["a"]
