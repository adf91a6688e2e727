"""Whatever is sent to the page's events gets an answer in our words, and no path of the server."""

import json
import logging
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from llava_serve.http import serving
from llava_serve.web.app import build_app
from llava_serve.web.chat_service import Services
from llava_serve.web.examples import ExampleQuestion
from tests.web.conftest import MakeServices

CONTROLS = [0.2, 1.0, 512, "", "", False]
MOST = 1_000_000


@pytest.fixture
def alone(make_services: MakeServices) -> Services:
    return make_services("http://127.0.0.1:9")


@pytest.fixture
async def http(alone: Services) -> AsyncIterator[httpx.AsyncClient]:
    served = build_app(alone)
    async with (
        serving.served(served.app, served.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as client,
    ):
        yield client


async def number_of(http: httpx.AsyncClient, event: str) -> int:
    dependencies = (await http.get("/config")).json()["dependencies"]
    return next(
        int(one["id"]) for one in dependencies if any(name == event for _, name in one["targets"])
    )


def png(folder: Path) -> Path:
    Image.new("RGB", (4, 4)).save(folder / "a cat.png")
    return folder / "a cat.png"


async def upload(http: httpx.AsyncClient, name: str, content: bytes) -> str:
    files = {"files": (name, content)}
    (given,) = (await http.post("/gradio_api/upload", files=files)).json()
    return str(given)


NOT_CALLS = [
    pytest.param(b"{", id="cut"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b"null", id="null"),
    pytest.param(b"\xff", id="no text"),
    pytest.param(b'{"data": ' + b"[" * 3000, id="deep"),
    pytest.param(b'{"data": "nonsense", "fn_index": 1, "session_hash": "s"}', id="text for data"),
    pytest.param(b'{"data": [], "fn_index": 1, "session_hash": "s"}', id="too few values"),
    pytest.param(b'{"data": [], "fn_index": 999, "session_hash": "s"}', id="unknown event"),
    pytest.param(b'{"data": [], "fn_index": -1, "session_hash": "s"}', id="negative event"),
    pytest.param(b'{"data": [], "fn_index": true, "session_hash": "s"}', id="true for an event"),
    pytest.param(b'{"data": [], "session_hash": "s"}', id="no event"),
]


@pytest.mark.parametrize("path", ["queue/join", "run/predict"])
@pytest.mark.parametrize("body", NOT_CALLS)
async def test_what_is_no_call_is_refused_in_one_line(
    http: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    path: str,
    body: bytes,
) -> None:
    caplog.set_level(logging.INFO, "llava_serve")
    headers = {"Content-Type": "application/json"}
    reply = await http.post(f"/gradio_api/{path}", content=body, headers=headers)
    assert 400 <= reply.status_code < 500
    told = reply.json()
    assert told["error"] == told["detail"] and told["error"].endswith(".")
    assert told["code"] in ("invalid_field", "no_such_route")
    lines = [record for record in caplog.records if record.name.startswith("llava_serve")]
    assert len([one for one in lines if told["code"] in one.getMessage()]) == 1
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())


GRADIO_AND_PANDAS = pytest.mark.filterwarnings(
    "ignore:'future.no_silent_downcasting'", "ignore:The copy keyword"
)


@GRADIO_AND_PANDAS
@pytest.mark.parametrize(
    "values",
    [
        pytest.param([1, *CONTROLS], id="a number for the question"),
        pytest.param([{"text": 3, "files": 4}, *CONTROLS], id="another shape"),
        pytest.param([{"text": "", "files": [{}]}, *CONTROLS], id="a file without a path"),
        pytest.param([{"text": "", "files": []}, *CONTROLS[:-1], "yes"], id="no yes or no"),
        pytest.param(
            [{"text": "", "files": []}, 1, 1, {"a": 1}, "", "", False], id="wrong parameter"
        ),
    ],
)
async def test_values_that_no_control_takes_are_told_without_a_traceback(
    http: httpx.AsyncClient, capfd: pytest.CaptureFixture[str], values: list[Any]
) -> None:
    body = {"data": values, "fn_index": await number_of(http, "submit"), "session_hash": "s"}
    reply = await http.post("/gradio_api/run/predict", json=body)
    assert reply.json()["error"].startswith("Data: has a value that its control does not take")
    assert (await http.post("/gradio_api/queue/join", json=body)).status_code == 200
    async with http.stream("GET", "/gradio_api/queue/data?session_hash=s") as events:
        async for line in events.aiter_lines():
            if "process_completed" in line:
                assert "its control does not take" in line
                break
    assert "Traceback" not in "".join(capfd.readouterr())


NUL = {"path": "a\0b", "meta": {"_type": "gradio.FileData"}}
NONSENSE: list[Any] = [
    None,
    [],
    7,
    "x",
    True,
    {"index": []},
    {"index": "9" * 5000},
    [NUL],
    {"a": NUL},
]


@GRADIO_AND_PANDAS
async def test_nonsense_for_any_event_ends_without_a_traceback(
    http: httpx.AsyncClient, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Called at once and through Gradio's queue, as values and as what the event says."""
    caplog.set_level(logging.INFO, "llava_serve")
    statuses = set()
    for event in (await http.get("/config")).json()["dependencies"]:
        for nonsense in NONSENSE:
            call = {
                "data": [nonsense] * len(event["inputs"]),
                "event_data": nonsense,
                "fn_index": event["id"],
                "session_hash": "s",
            }
            reply = await http.post("/gradio_api/run/predict", json=call)
            statuses.add(reply.status_code)
            assert reply.status_code == 200 or "." in reply.json()["error"]
            if event["backend_fn"] and nonsense in (None, [], 7):
                joined = await http.post("/gradio_api/queue/join", json=call)
                assert joined.status_code == 200 or joined.status_code < 500
    statuses.discard(200)  # a button takes no values, and a menu's name may be any
    assert statuses and all(400 <= status < 500 for status in statuses)
    shown = caplog.text + "".join(capfd.readouterr())
    assert "Traceback" not in shown and "invalid_field" in shown


async def test_what_is_not_the_page_calling_is_refused_in_one_line(
    http: httpx.AsyncClient, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "llava_serve")
    events = (await http.get("/config")).json()["dependencies"]
    in_browser = next(one["id"] for one in events if not one["backend_fn"])
    calls = [
        http.get("/gradio_api/queue/data?session_hash=nobody"),
        http.get("/gradio_api/queue/data"),
        http.post(
            "/gradio_api/queue/join",
            json={"data": [None], "fn_index": in_browser, "session_hash": "s"},
        ),
        http.post("/gradio_api/component_server", json={"component_id": 9999}),
        http.get("/gradio_api/file=uploads/a%00b/c"),
        http.get("/assets/a%00b"),
        http.get("/static/a%00b"),
        http.get("/media/a%00b"),
    ]
    for call in calls:
        caplog.clear()
        reply = await call
        assert 400 <= reply.status_code < 500
        assert reply.json()["error"]
        assert (
            len(
                [
                    one
                    for one in caplog.records
                    if "route" in one.message or "unreadable" in one.message
                ]
            )
            == 1
        )
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_a_call_is_read_as_every_body_is(http: httpx.AsyncClient) -> None:
    """A byte-order mark is no part of it."""
    call = {"data": ["echo"], "fn_index": await number_of(http, "input"), "session_hash": "s"}
    body, headers = BOM_UTF8 + json.dumps(call).encode(), {"Content-Type": "application/json"}
    reply = await http.post("/gradio_api/run/predict", content=body, headers=headers)
    assert reply.status_code == 200


async def test_the_events_are_no_interface_for_programs(http: httpx.AsyncClient) -> None:
    for path in ("call/submit", "api/submit"):
        reply = await http.post(f"/gradio_api/{path}", json={"data": []})
        assert (reply.status_code, reply.json()["code"]) == (404, "no_such_route")


async def test_a_model_that_gradio_has_forgotten_to_have_offered_can_be_chosen(
    http: httpx.AsyncClient,
) -> None:
    number = await number_of(http, "input")
    body = {"data": ["echo"], "fn_index": number, "session_hash": "s"}
    assert (await http.post("/gradio_api/run/predict", json=body)).status_code == 200
    body["data"] = [{"echo": 1}]
    reply = await http.post("/gradio_api/run/predict", json=body)
    assert "its control does not take" in reply.json()["error"]


async def test_no_answer_about_an_upload_names_a_folder_of_the_server(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """From the upload over the box for questions to the picture shown in it."""
    content = png(tmp_path).read_bytes()
    name = await upload(http, "a cat.png", content)
    assert name.startswith("uploads/") and name.endswith("/a cat.png")
    shown = await http.get(f"/gradio_api/file={name}")
    assert shown.content == content

    question = {"text": "what?", "files": [{"path": name, "meta": {"_type": "gradio.FileData"}}]}
    body = {
        "data": [question, *CONTROLS],
        "fn_index": await number_of(http, "submit"),
        "session_hash": "s",
    }
    reply = await http.post("/gradio_api/run/predict", json=body)
    assert reply.status_code == 200 and str(tmp_path) not in reply.text


async def test_an_image_that_is_lent_back_is_named_like_an_upload(
    make_services: MakeServices, tmp_path: Path
) -> None:
    services = make_services("http://127.0.0.1:9")
    examples = (ExampleQuestion("what?", (services.media.put(png(tmp_path)),)),)
    served = build_app(services, examples=examples)
    async with (
        serving.served(served.app, served.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http,
    ):
        call = {
            "data": [],
            "event_data": {"index": 0},
            "fn_index": await number_of(http, "example"),
            "session_hash": "s",
        }
        reply = await http.post("/gradio_api/run/predict", json=call)
        assert str(tmp_path) not in reply.text
        (file,) = reply.json()["data"][0]["value"]["files"]
        assert file["path"].startswith("uploads/")
        assert (await http.get(file["url"])).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "uploads/../conversations.sqlite",
        "uploads/hash/../../conversations.sqlite",
        "uploads/%2e%2e/conversations.sqlite",
        "http://example.invalid/x.png",
        "hash/x.png",
        "",
    ],
)
async def test_no_other_file_can_be_named(http: httpx.AsyncClient, name: str) -> None:
    assert (await http.get(f"/gradio_api/file={name}")).status_code in (400, 403, 404)
    file = {"path": name, "meta": {"_type": "gradio.FileData"}}
    body = {
        "data": [{"text": "", "files": [file]}, *CONTROLS],
        "fn_index": await number_of(http, "submit"),
        "session_hash": "s",
    }
    reply = await http.post("/gradio_api/run/predict", json=body)
    said = ("was not uploaded through this page", "is here no longer")
    assert any(text in reply.json()["error"] for text in said)


async def test_a_call_beyond_the_limit_is_refused(http: httpx.AsyncClient) -> None:
    body = {"data": ["x" * (MOST + 1)], "fn_index": 0, "session_hash": "s"}
    reply = await http.post("/gradio_api/run/predict", json=body)
    assert (reply.status_code, reply.json()["code"]) == (413, "text_too_large")


async def test_a_number_without_end_is_refused_without_a_traceback(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    refused = 0
    for event in (await http.get("/config")).json()["dependencies"]:
        call = {"data": ["END"] * len(event["inputs"]), "fn_index": event["id"]}
        body = json.dumps(call | {"session_hash": "s"}).replace('"END"', "1e999")
        headers = {"Content-Type": "application/json"}
        reply = await http.post("/gradio_api/run/predict", content=body, headers=headers)
        refused += 400 <= reply.status_code < 500
        assert reply.status_code < 500
    assert refused and "Traceback" not in caplog.text
