"""A folder of images over the wire: asked about, followed, stopped, asked again, taken along."""

import asyncio
import csv
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import InvalidField
from llava_serve.http import serving
from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.request import Delta, GenerateRequest
from llava_serve.web.app import build_app
from llava_serve.web.chat_service import Services
from llava_serve.web.compare import folder_runs
from llava_serve.web.compare.folder_limits import FolderLimits
from llava_serve.web.compare.folder_routes import FolderStart
from llava_serve.web.translations.catalogue import CHINESE
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.until import bounded, until
from tests.web.conftest import MakeServices


class Watched(EchoEngine):
    """An engine whose answers wait for `may_answer`; images `wide` pixels wide it refuses."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.most_running = 0
        self.seeds: list[int | None] = []
        self.wide: int | None = None

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        self.seeds.append(request.sampling.seed)
        async with aclosing(super().stream(request)) as deltas:
            async for delta in deltas:
                self.most_running = max(self.most_running, self.running)
                if self.wide is not None and f"{self.wide}x" in delta.text:
                    raise InvalidField("image", "is too wide today")
                await self.may_answer.wait()
                yield delta


@pytest.fixture
def engine() -> Watched:
    return Watched()


@pytest.fixture
async def worker(engine: Watched) -> AsyncIterator[str]:
    one = ModelWorker(engine, Gate(8, 100), MediaReader(MediaConfig()), worker_id="one")
    async with serving.served(build_worker(one, max_body_bytes=1_000_000)) as address:
        yield address


Open = Callable[..., Any]
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def opened(worker: str, make_services: MakeServices, tmp_path: Path) -> AsyncIterator[Open]:
    """Open browsers on a page without logins, or as users on one with them."""
    services = replace(make_services(worker), folder_limits=FolderLimits(5, 20_000))
    async with AsyncExitStack() as stack:
        names = ("alice", "bob")
        write_users(tmp_path / "users", {name: hashed(f"{name} knows", 4) for name in names})
        logins = LoginSessions.of(LoginConfig(auth_file=tmp_path / "users"), tmp_path)
        pages: dict[bool, str] = {}

        async def page_of(with_logins: bool) -> str:
            if with_logins not in pages:
                mine: Services = replace(services, logins=logins if with_logins else None)
                page = build_app(mine)
                pages[with_logins] = await stack.enter_async_context(
                    serving.served(page.app, page.before_stop)
                )
            return pages[with_logins]

        async def browser(user: str | None = None, *, cookies: bool = True) -> httpx.AsyncClient:
            address = await page_of(user is not None)
            client = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
            await stack.enter_async_context(client)
            if user is not None:
                form = {"name": user, "password": f"{user} knows", "next": "/"}
                origin = {"Origin": address}
                assert (await client.post("/login", data=form, headers=origin)).status_code == 303
            if cookies:
                await client.get("/")
            await _served(client)
            return client

        yield browser


async def _served(client: httpx.AsyncClient) -> None:
    async with bounded("a model"):
        while not (await client.get("/health")).json()["models"]:  # noqa: ASYNC110 - as browsers
            await asyncio.sleep(0.02)


def png(width: int, height: int = 4) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, width % 256)).save(out, "PNG")
    return out.getvalue()


def asked(*sizes: int, **changed: Any) -> dict[str, Any]:
    return {"question": "what is it?", "models": ["echo"], "sizes": [*sizes]} | changed


async def begun(client: httpx.AsyncClient, *widths: int, **changed: Any) -> str:
    """Make a folder with an image of each width, named after it; return its path."""
    images = {f"{width}.png": png(width) for width in widths}
    answer = await client.post("/folders", json=asked(*map(len, images.values()), **changed))
    assert answer.status_code == 201, answer.text
    path = f"/folders/{answer.json()['id']}"
    for position, (name, data) in reversed([*enumerate(images.items())]):
        answer = await put(client, path, name, data, 2 * position)
        assert answer.status_code == 204, answer.text
    return path


async def put(
    client: httpx.AsyncClient, path: str, name: str, data: bytes, position: int = 99
) -> httpx.Response:
    params: dict[str, Any] = {"folder": path.rpartition("/")[2], "name": name}
    params["position"] = position
    return await client.post("/folders/image", params=params, content=data)


async def start(client: httpx.AsyncClient, path: str, **body: Any) -> None:
    answer = await client.post(f"{path}/start", json=body)
    assert answer.status_code == 204, answer.text


async def shown(client: httpx.AsyncClient, path: str, mark: str = "") -> dict[str, Any]:
    answer = await client.get(path, params={"mark": mark})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def ended(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    async with bounded("the end of a run"):
        while (told := await shown(client, path))["running"]:  # noqa: ASYNC110 - as browsers do
            await asyncio.sleep(0.02)
    return told


async def test_every_image_is_asked_about_and_the_answers_are_kept(
    opened: Open, engine: Watched
) -> None:
    client = await opened()
    path = await begun(client, 10, 11, 12)
    await start(client, path)
    told = await ended(client, path)
    assert (told["total"], told["done"], told["failed"]) == (3, 3, 0)
    for width in (10, 11, 12):
        assert f"[1 picture: {width}x4] what is it?" in told["table"]
        assert f"<span>{width}.png</span>" in told["table"]
    names = re.findall("<span>(.*?)</span>", told["table"])
    assert names == ["10.png", "11.png", "12.png"]  # in their places, and not as they came
    assert len({*engine.seeds}) == 1 and engine.seeds[0] is not None  # the same for all
    (entry,) = (await client.get("/folders")).json()["folders"]
    assert (entry["question"], entry["images"]) == ("what is it?", 3)


async def test_new_answers_are_told_alone(opened: Open, engine: Watched) -> None:
    engine.may_answer.clear()
    client = await opened()
    path = await begun(client, 10, 11, 12)
    await start(client, path)
    first = await shown(client, path)
    await until(lambda: engine.running == 1, "the first answer")
    engine.may_answer.set()
    await ended(client, path)
    assert engine.most_running == 1  # of two slots, as many as are counted on where none are told
    told = await shown(client, path, first["mark"])
    assert {*told["cells"]} == {"0.0", "1.0", "2.0"} and "table" not in told
    again = await shown(client, path, told["mark"])
    assert {*again["cells"]} == {"0.0", "1.0", "2.0"}  # read from the database: all is new


async def test_a_model_with_eight_slots_gets_four_images_at_once(
    worker: str, make_services: MakeServices, engine: Watched
) -> None:
    registry = Registry(shortest_queue)
    async with httpx.AsyncClient(trust_env=False) as asking:
        status = (await asking.post(f"{worker}/worker_get_status")).json()
    registry.register(worker, WorkerStatus.model_validate(status), now=0.0, expires=False)
    engine.may_answer.clear()
    controller = build_controller(registry, AdmissionPolicy("token", frozenset()))
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving.served(controller))
        page = build_app(make_services(address))
        served = await stack.enter_async_context(serving.served(page.app, page.before_stop))
        client = httpx.AsyncClient(base_url=served, trust_env=False, timeout=60)
        await stack.enter_async_context(client)
        await client.get("/")
        await _served(client)
        path = await begun(client, 10, 11, 12, 13, 14, 15)
        await start(client, path)
        await until(lambda: engine.running == 4, "the first four answers")
        engine.may_answer.set()
        assert (await ended(client, path))["done"] == 6
    assert engine.most_running == 4


async def test_a_model_that_does_not_answer_stops_no_others_rows(
    make_services: MakeServices, engine: Watched
) -> None:
    engine.may_answer.clear()
    engines = {"echo": engine, "quick": EchoEngine("quick")}
    registry = Registry(shortest_queue)
    async with AsyncExitStack() as stack:
        asking = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        for name, one in engines.items():
            worker = ModelWorker(one, Gate(40, 100), MediaReader(MediaConfig()), worker_id=name)
            app = build_worker(worker, max_body_bytes=1_000_000)
            address = await stack.enter_async_context(serving.served(app))
            status = (await asking.post(f"{address}/worker_get_status")).json()
            registry.register(address, WorkerStatus.model_validate(status), 0.0, expires=False)
        controller = build_controller(registry, AdmissionPolicy("token", frozenset()))
        address = await stack.enter_async_context(serving.served(controller))
        page = build_app(make_services(address))
        served = await stack.enter_async_context(serving.served(page.app, page.before_stop))
        client = httpx.AsyncClient(base_url=served, trust_env=False, timeout=60)
        await stack.enter_async_context(client)
        await client.get("/")
        await _served(client)
        path = await begun(client, *range(10, 22), models=["echo", "quick"])
        await start(client, path)
        async with bounded("the answers of the other model", 30):
            while (await shown(client, path))["done"] < 12:  # noqa: ASYNC110 - as browsers do
                await asyncio.sleep(0.02)
        assert engine.running > 4
        engine.may_answer.set()
        assert (await ended(client, path))["done"] == 24


async def test_a_run_can_be_stopped_and_gone_on_with(opened: Open, engine: Watched) -> None:
    engine.may_answer.clear()
    client = await opened()
    path = await begun(client, 10, 11, 12)
    await start(client, path)
    await until(lambda: engine.running == 1, "the first answer")
    for refused in (await client.delete(path), await client.post(f"{path}/start", json={})):
        said = "still answering about this folder. Wait until they have answered, or open"
        assert refused.status_code == 400 and said in refused.json()["error"]
    assert (await client.post(f"{path}/stop")).status_code == 204
    told = await ended(client, path)
    await until(lambda: engine.running == 0, "the end of the answers")
    assert told["done"] == 0
    engine.may_answer.set()
    await start(client, path)
    assert (await ended(client, path))["done"] == 3


async def test_nobody_waits_for_the_slow_uploads_of_others(opened: Open) -> None:
    slow, quick = await opened(), await opened()
    paths = [await begun(client, 10) for client in (slow, quick)]
    begun_uploads, may_end = 0, asyncio.Event()

    async def trickling() -> AsyncIterator[bytes]:
        nonlocal begun_uploads
        yield png(11)[:20]
        begun_uploads += 1
        await may_end.wait()
        yield png(11)[20:]

    async def upload(position: int) -> httpx.Response:
        params = {"folder": paths[0].rpartition("/")[2], "name": "a.png", "position": position}
        answer: httpx.Response = await slow.post(
            "/folders/image", params=params, content=trickling()
        )
        return answer

    uploads = [asyncio.create_task(upload(position)) for position in (1, 2, 3, 4)]
    await until(lambda: begun_uploads == 4, "the slow uploads")
    async with bounded("the quick upload"):
        assert (await put(quick, paths[1], "12.png", png(12))).status_code == 204
    may_end.set()
    assert {answer.status_code for answer in await asyncio.gather(*uploads)} == {204}


async def test_one_folder_of_a_user_at_a_time_and_users_take_turns(
    opened: Open, engine: Watched
) -> None:
    engine.may_answer.clear()
    one, other = await opened(), await opened()
    first = await begun(one, 10, 11, 12, 13, 14, parameters={"seed": 1})
    another = await begun(one, 15)
    second = await begun(other, 10, 11, parameters={"seed": 2})
    await start(one, first)
    await until(lambda: engine.running == 1, "the first answer")
    answer = await one.post(f"{another}/start", json={})
    assert answer.status_code == 400 and "another folder of yours" in answer.json()["error"]
    await start(other, second)
    engine.may_answer.set()
    for client, path in ((one, first), (other, second)):
        await ended(client, path)
    assert 2 in engine.seeds[:4] and len(engine.seeds) == 7
    await start(one, another)
    assert (await ended(one, another))["done"] == 1


async def test_an_address_has_no_more_runs_for_having_more_cookies(
    opened: Open, engine: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_runs, "_MOST_RUNNING", 4)
    engine.may_answer.clear()
    browsers = [await opened() for _ in range(3)]
    paths = [await begun(one, 10) for one in browsers]
    for one, path in zip(browsers[:2], paths, strict=False):
        await start(one, path)
    refused = await browsers[2].post(f"{paths[2]}/start", json={})
    assert (refused.status_code, refused.json()["code"]) == (503, "page_busy")
    assert "2 folders from your network" in refused.json()["error"]
    engine.may_answer.set()
    await ended(browsers[0], paths[0])
    await start(browsers[2], paths[2])
    for one, path in zip(browsers, paths, strict=True):
        assert (await ended(one, path))["done"] == 1


async def test_what_failed_says_why_and_is_asked_again_alone(opened: Open, engine: Watched) -> None:
    engine.wide = 11
    client = await opened()
    path = await begun(client, 10, 11)
    await start(client, path)
    told = await ended(client, path)
    assert (told["done"], told["failed"]) == (1, 1)
    assert "too wide today" in told["table"] and 'data-again="1.0"' in told["table"]
    engine.wide = None
    await start(client, path, places=[[1, 0], [0, 0], [7, 7]])
    told = await ended(client, path)
    assert (told["done"], told["failed"], len(engine.seeds)) == (2, 0, 3)


def test_the_places_that_are_asked_for_are_found_at_once_however_many_they_are() -> None:
    assert FolderStart.model_validate_json('{"places": [[1, 0], [1, 0]]}').places == {(1, 0)}


async def test_what_is_too_much_or_no_image_is_refused_with_the_limit(
    opened: Open, engine: Watched
) -> None:
    client = await opened()
    for body, said in (
        (asked(1, 1, 1, 1, 1, 1), "6 pictures of 0.0 MB are too many"),
        (asked(20_001), "this page takes 5 of 0.0 MB together"),
        (asked(), "no pictures to ask about. Begin another folder with one picture"),
        (asked(1, question=" "), "The question is empty. Type what the models are to be asked"),
        (asked(1, models=[]), "0 models are chosen, of which 0 are different: choose one to 6"),
        (asked(1, models=["echo", "echo"]), "each of them once. Change the choice of models"),
    ):
        answer = await client.post("/folders", json=body)
        assert answer.status_code in (400, 413) and said in answer.json()["error"]
    answer = await client.post("/folders", json=asked(1, models=["gone"]))
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "1"
    path = await begun(client, 10)
    for data, said in ((b"no picture", "'notes.txt'"), (png(3000, 3000), "too many at once")):
        answer = await put(client, path, "a/notes.txt", data)
        assert answer.status_code in (400, 413) and said in answer.json()["error"]
    moving = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    answer = await put(client, path, "moves.gif", moving.getvalue())
    said = "'moves.gif' is no picture. Choose pictures that do not move"
    assert answer.status_code == 400 and said in answer.json()["error"]
    await start(client, path)
    await ended(client, path)
    answer = await put(client, path, "late.png", png(12))
    said = "the models have begun to answer. Begin another folder with the pictures"
    assert answer.status_code == 400 and said in answer.json()["error"]


async def test_a_folder_is_its_users_alone(opened: Open) -> None:
    alice, bob = await opened("alice"), await opened("bob")
    path = await begun(alice, 10)
    await start(alice, path)
    told = await ended(alice, path)
    image = told["table"].partition('src="')[2].partition('"')[0]
    assert (await alice.get(f"/{image}")).status_code == 200
    assert (await bob.get(f"/{image}")).status_code == 404
    assert (await bob.get("/folders")).json()["folders"] == []
    for method, what in (
        *(("GET", path + end) for end in ("", ".csv", ".html")),
        *(("POST", path + end) for end in ("/start", "/stop")),
        ("DELETE", path),
    ):
        answer = await bob.request(method, what, content=b"{}", headers=JSON)
        assert answer.status_code == 404 and "what is it" not in answer.text
    assert (await put(bob, path, "x.png", png(9))).status_code == 404


async def test_older_folders_are_listed_for_who_asks_for_more(opened: Open) -> None:
    client = await opened()
    paths = [await begun(client, 10) for _ in range(3)]
    newest = [path.rpartition("/")[2] for path in reversed(paths)]
    for count, has_more in ((1, True), (2, True), (3, False)):
        told = (await client.get("/folders", params={"count": count})).json()
        assert [one["id"] for one in told["folders"]] == newest[:count]
        assert told["has_more"] is has_more
    assert (await client.get("/folders", params={"count": 0})).status_code == 400


async def test_another_browser_and_one_without_cookies_have_none(opened: Open) -> None:
    one, other, none = await opened(), await opened(), await opened(cookies=False)
    path = await begun(one, 10)
    assert (await other.get(path)).status_code == 404
    answer = await none.post("/folders", json=asked(1))
    said = "keeps no cookies, so the answers would not be found again. Allow cookies for this page"
    assert answer.status_code == 400 and said in answer.json()["error"]


async def test_the_table_is_csv_that_no_spreadsheet_computes(opened: Open) -> None:
    client = await opened()
    path = await begun(client, 10, question="=1+1")
    await put(client, path, "=cmd.png", png(11))
    await start(client, path)
    await ended(client, path)
    answer = await client.get(f"{path}.csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = [*csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))]
    assert rows[0] == ["picture", "sha256", "question", "echo", "echo: error"]
    assert rows[1][0] == "10.png" and rows[2][0] == "'=cmd.png" and rows[1][2] == "'=1+1"
    assert rows[1][3] == "[1 picture: 10x4] =1+1" and rows[1][4] == ""


async def test_the_contact_sheet_stands_alone(opened: Open) -> None:
    client = await opened()
    path = await begun(client, 10, question="<b>what</b> $a^2$")
    await put(client, path, "<i>.png", png(800, 600))
    await start(client, path)
    await ended(client, path)
    answer = await client.get(f"{path}.html")
    assert answer.text.count('src="data:image/jpeg;base64,') == 2
    assert "http" not in answer.text.replace("http-equiv", "") and "<script" not in answer.text
    assert "<b>what" not in answer.text and "&lt;i&gt;.png" in answer.text
    assert "[1 picture: 800x600]" in answer.text
    assert "<math" in answer.text and ".formula {" in answer.text


async def test_a_deleted_folder_takes_its_images_along_but_not_those_of_others(
    opened: Open, tmp_path: Path
) -> None:
    client = await opened()
    first, second = await begun(client, 10, 11), await begun(client, 11)
    kept = [*(tmp_path / "media").rglob("*.png")]
    assert len(kept) == 2
    assert (await client.delete(first)).status_code == 204
    assert len([*(tmp_path / "media").rglob("*.png")]) == 1
    assert (await client.get(first)).status_code == 404
    assert (await client.delete(second)).status_code == 204
    assert [*(tmp_path / "media").rglob("*.png")] == []


async def test_a_page_that_stops_ends_the_answers_and_they_can_be_asked_again(
    worker: str, make_services: MakeServices, engine: Watched
) -> None:
    engine.may_answer.clear()
    cookies = httpx.Cookies()
    for round_ in range(2):
        page = build_app(make_services(worker))
        async with (
            serving.served(page.app, page.before_stop) as address,
            httpx.AsyncClient(
                base_url=address, trust_env=False, timeout=60, cookies=cookies
            ) as client,
        ):
            await client.get("/")
            await _served(client)
            if round_ == 0:
                cookies = client.cookies
                path = await begun(client, 10, 11)
            else:
                told = await shown(client, path)
                assert told["done"] == 0 and not told["running"]
                engine.may_answer.set()
            await start(client, path)
            if round_ == 0:
                await until(lambda: engine.running == 1, "the first answer")
            else:
                assert (await ended(client, path))["done"] == 2


async def test_a_folder_is_taken_along_in_the_language_of_the_browser(opened: Open) -> None:
    client = await opened()
    path = await begun(client, 10)
    client.headers["Accept-Language"] = "zh"
    sheet = await client.get(f"{path}.html")
    assert '<html lang="zh">' in sheet.text
    for key in ("folder.not_asked", "folder.pictures"):
        assert CHINESE.translate(key, count=1) in sheet.text
    name = quote(CHINESE.translate("folder.answers_file"))
    assert sheet.headers["content-disposition"].endswith(f"''{name}.html")
    table = await client.get(f"{path}.csv")
    assert table.content.decode("utf-8-sig").startswith("picture,sha256,question")
