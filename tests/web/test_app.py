"""The web server's own routes, and what it lets a browser do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from llava_serve.http import serving
from llava_serve.storage.media import StoredFile
from llava_serve.web.app import build_app
from llava_serve.web.chat_service import Services
from tests.until import until
from tests.web.conftest import MakeServices


@pytest.fixture
def alone(make_services: MakeServices) -> Services:
    return make_services("http://127.0.0.1:9")


@pytest.fixture
async def http(alone: Services) -> AsyncIterator[httpx.AsyncClient]:
    page = build_app(alone)
    async with (
        serving.served(page.app, page.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False) as client,
    ):
        yield client


@pytest.fixture
def image(alone: Services, tmp_path: Path) -> StoredFile:
    Image.new("RGB", (4, 4)).save(tmp_path / "dot.png")
    return alone.media.put(tmp_path / "dot.png")


NOTHING = {"text": "", "files": []}
CONTROLS = [0.2, 1.0, 512, None, "", False]


async def call(http: httpx.AsyncClient, event: str) -> int:
    """Return the number under which the chat tab's event is called."""
    config = (await http.get("/config")).json()
    return next(
        int(one["id"])
        for one in config["dependencies"]
        if any(name == event for _, name in one["targets"])
    )


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_the_page_is_healthy_without_a_controller(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health")).json() == {"status": "ok", "models": []}
    assert (await http.get("/")).status_code == 200


async def test_a_page_that_ended_looks_for_no_work(alone: Services) -> None:
    page = build_app(alone)

    def of_gradio() -> list[str]:
        running = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
        return [name for name in running if name.startswith("Queue.")]

    async with serving.served(page.app, page.before_stop) as address:
        async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
            await client.get("/config")  # which starts the queue
        assert of_gradio() != []
    await until(lambda: of_gradio() == [], "the end of Gradio's queue")


async def test_the_page_may_reach_nothing_but_itself(http: httpx.AsyncClient) -> None:
    policy = (await http.get("/")).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http:" not in policy and "*" not in policy


async def test_an_image_is_served_for_ever_and_as_nothing_else(
    http: httpx.AsyncClient, image: StoredFile, alone: Services
) -> None:
    reply = await http.get(f"/media/{image.filename}")
    assert reply.content == alone.media.read(image)
    assert reply.headers["content-type"] == "image/png"
    assert "immutable" in reply.headers["cache-control"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in reply.headers["content-security-policy"]


async def test_an_image_that_browsers_do_not_show_is_served_as_one_that_they_do(
    http: httpx.AsyncClient, alone: Services, tmp_path: Path
) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "scan.tif")
    kept = alone.media.put(tmp_path / "scan.tif")
    reply = await http.get(f"/media/{kept.filename}")
    assert reply.headers["content-type"] == "image/webp"
    assert reply.content[8:12] == b"WEBP"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("0" * 64 + ".png", id="unknown"),
        pytest.param("0" * 64 + ".html", id="another type"),
        pytest.param("..%2f..%2fconversations.sqlite", id="another folder"),
        pytest.param("0" * 63 + "%2f.png", id="slash"),
    ],
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, name: str) -> None:
    assert (await http.get(f"/media/{name}")).status_code == 404


async def test_a_browser_cannot_name_a_file_of_the_server(
    http: httpx.AsyncClient, image: StoredFile, tmp_path: Path, upload_folder: Path
) -> None:
    """Gradio would take any path into its cache, were the page not marked as launched."""
    secret = {"path": str(tmp_path / "dot.png"), "meta": {"_type": "gradio.FileData"}}
    body = {
        "data": [{"text": "show me", "files": [secret]}, *CONTROLS],
        "fn_index": await call(http, "submit"),
        "session_hash": "s",
    }
    reply = await http.post("/gradio_api/run/predict", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("'dot.png' was not uploaded through this page")
    assert str(tmp_path) not in reply.text
    assert files_in(upload_folder) == []


async def test_a_browser_cannot_make_the_server_fetch(
    http: httpx.AsyncClient, upload_folder: Path
) -> None:
    """Gradio would download the address of any input before a handler runs."""
    fetched = {"path": "http://example.invalid/x.png", "meta": {"_type": "gradio.FileData"}}
    for data in ([{"text": "", "files": [fetched]}, *CONTROLS], [NOTHING, fetched, *CONTROLS[1:]]):
        body = {"data": data, "fn_index": await call(http, "submit"), "session_hash": "s"}
        reply = await http.post("/gradio_api/run/predict", json=body)
        assert reply.status_code == 400
        assert reply.json()["error"].startswith("'x.png' was not uploaded through this page")
    assert files_in(upload_folder) == []


async def test_an_upload_beyond_the_limit_is_refused_and_removed(
    http: httpx.AsyncClient, upload_folder: Path
) -> None:
    """One drop of many files is one request; each of these alone would pass."""
    files = [("files", (f"{n}.png", bytes(400_000))) for n in range(3)]
    reply = await http.post("/gradio_api/upload", files=files)
    assert reply.status_code == 413
    assert "larger than 1 MB" in reply.text and "fewer or smaller pictures" in reply.text
    assert files_in(upload_folder) == []
    assert (await http.post("/gradio_api/upload", files=files[:1])).status_code == 200


async def test_a_page_of_another_host_can_upload_nothing(
    http: httpx.AsyncClient, upload_folder: Path
) -> None:
    """A form needs nobody's leave to be sent, whatever page it stands on."""
    files = [("files", ("a.png", b"content"))]
    headers = {"Origin": "http://evil.example"}
    reply = await http.post("/gradio_api/upload", files=files, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "origin_refused")
    assert files_in(upload_folder) == []
    own = {"Origin": str(http.base_url).rstrip("/")}
    assert (await http.post("/gradio_api/upload", files=files, headers=own)).status_code == 200
