"""A PDF over the wire: its pages come back, within limits, and what goes wrong stays in it."""

import asyncio
import email
import email.policy
import io
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi import FastAPI
from PIL import Image

from llava_serve.http import serving
from llava_serve.http.body import BodyLimits
from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.web.app import build_app
from llava_serve.web.attaching import MOST_FILES
from llava_serve.web.browser_identity import BrowserIdentity
from llava_serve.web.pdf.page_images import LONG_SIDE_PX
from llava_serve.web.pdf.renderer import PdfLimits
from llava_serve.web.pdf.routes import pdf_router
from tests.until import until
from tests.web.conftest import MakeServices
from tests.web.pdf import pdf_files

A4 = (595, 842)
PROGRAM = "llava_serve.web.pdf.page_images"
PATIENT = PdfLimits(timeout_s=600)
ANOTHER_USER = f"llava_browser={'b' * 43}"
Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie during a test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Serve the route within limits, and open clients of it."""
    async with AsyncExitStack() as stack:

        async def open_(limits: PdfLimits = PATIENT, most: int = 10**7) -> httpx.AsyncClient:
            app = FastAPI()
            app.include_router(pdf_router(limits))
            app.add_middleware(BrowserIdentity)
            serving.prepare(app, BodyLimits(most))
            address = await stack.enter_async_context(serving.served(app))
            client = httpx.AsyncClient(base_url=address, trust_env=False, timeout=300)
            return await stack.enter_async_context(client)

        yield open_


async def send(
    client: httpx.AsyncClient, pdf: bytes, name: str = "report.pdf", attached: int = 0
) -> httpx.Response:
    return await client.post("/pdf/pages", params={"name": name, "attached": attached}, content=pdf)


def form_of(answer: httpx.Response) -> tuple[int, dict[str, Image.Image]]:
    """Return how many pages there are, and the images by the names of their files."""
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    total, *pages = form.iter_parts()
    images = {page.get_filename() or "": page.get_content() for page in pages}
    opened: dict[str, Image.Image] = {
        name: Image.open(io.BytesIO(data)) for name, data in images.items()
    }
    return int(total.get_content()), opened


def left_in(folder: Path) -> list[Path]:
    return [*folder.iterdir()]


def sizes_in(folder: Path) -> list[int]:
    """Return the bytes of each PDF that has arrived."""
    return [file.stat().st_size for file in folder.glob("*/*.pdf")]


def rendering() -> list[psutil.Process]:
    """The renderers of this process that run."""
    return [one for one in psutil.Process().children() if PROGRAM in _command(one)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


async def test_pages_are_images_upright_in_order_and_large_enough_to_be_read(opened: Open) -> None:
    answer = await send(await opened(), pdf_files.of_pages(A4, A4[::-1], (100, 50)))
    total, images = form_of(answer)
    assert total == 3
    assert [*images] == ["page 1.png", "page 2.png", "page 3.png"]
    one, other, small = images.values()
    assert max(one.size) == max(other.size) == LONG_SIDE_PX
    assert one.height > one.width and other.width > other.height
    assert small.width == 417  # 300 dots per inch
    greys = [image.convert("L").crop((9, 9, 10, 10)).getextrema()[0] for image in images.values()]
    assert greys == pytest.approx([0, 40, 80], abs=3)
    assert answer.headers["cache-control"] == "no-store"


async def test_as_many_pages_are_taken_as_fit_the_question(opened: Open, scratch: Path) -> None:
    client = await opened()
    pdf = pdf_files.of_pages(*[(30, 30)] * (MOST_FILES + 2))
    total, images = form_of(await send(client, pdf))
    assert (total, len(images)) == (MOST_FILES + 2, MOST_FILES)
    assert [*images] == [f"page {number}.png" for number in range(1, MOST_FILES + 1)]
    assert len(form_of(await send(client, pdf, attached=MOST_FILES - 2))[1]) == 2
    answer = await send(client, pdf, attached=MOST_FILES)
    assert answer.status_code == 413
    assert f"at most {MOST_FILES} can be" in answer.json()["card"]
    assert left_in(scratch) == []


async def test_a_scan_is_sent_as_jpeg(opened: Open) -> None:
    _, images = form_of(await send(await opened(), pdf_files.noise(1200)))
    assert [image.format for image in images.values()] == ["JPEG"]
    assert [*images] == ["page 1.jpg"]


async def test_what_was_filled_in_is_there(opened: Open) -> None:
    _, images = form_of(await send(await opened(), pdf_files.filled_in()))
    assert [image.convert("L").getextrema()[0] for image in images.values()] == [0]


@pytest.mark.parametrize(
    ("pdf", "said"),
    [
        pytest.param(pdf_files.locked(), "is locked with a password", id="locked"),
        pytest.param(pdf_files.without_pages(), "has no pages", id="empty"),
        pytest.param(pdf_files.of_pages(A4)[:800], "is damaged", id="cut"),
        pytest.param(b"%PDF-1.4 and nothing else", "is damaged", id="junk"),
        pytest.param(b"", "is damaged", id="nothing"),
    ],
)
async def test_what_has_no_pages_to_show_is_refused_with_the_reason(
    opened: Open, scratch: Path, pdf: bytes, said: str
) -> None:
    answer = await send(await opened(), pdf, name="a/<b>--x.pdf")
    assert answer.status_code == 400
    card = answer.json()["card"]
    assert said in card and "&lt;b&gt;--x.pdf" in card and "<b>" not in card
    assert "without a password" in card and "pdf_refused" in card and 'role="alert"' in card
    assert left_in(scratch) == []


async def test_a_pdf_beyond_the_limit_of_a_body_is_refused(opened: Open) -> None:
    answer = await send(await opened(most=1000), pdf_files.of_pages(A4))
    assert answer.status_code == 413 and "body_too_large" in answer.json()["card"]


async def test_a_pdf_that_never_ends_is_given_up(opened: Open, scratch: Path) -> None:
    answer = await send(await opened(PdfLimits(timeout_s=0.5)), pdf_files.endless())
    assert answer.status_code == 400 and "takes longer than 0.5 s" in answer.json()["card"]
    assert rendering() == []
    assert left_in(scratch) == []


async def test_a_client_that_leaves_ends_its_renderer(opened: Open, scratch: Path) -> None:
    leaving = asyncio.create_task(send(await opened(), pdf_files.endless()))
    await until(lambda: len(rendering()) == 1, "the renderer")
    leaving.cancel()
    await asyncio.wait({leaving})
    await until(lambda: rendering() == [], "the end of the renderer")
    await until(lambda: left_in(scratch) == [], "the end of its files")


async def test_a_renderer_that_crashes_takes_nothing_else_down(opened: Open) -> None:
    client = await opened()
    crashing = asyncio.create_task(send(client, pdf_files.endless()))
    await until(lambda: len(rendering()) == 1, "the renderer")
    rendering()[0].kill()
    answer = await crashing
    assert answer.status_code == 400 and "drawing its pages failed" in answer.json()["card"]
    assert form_of(await send(client, pdf_files.of_pages(A4)))[0] == 1


async def test_few_are_rendered_at_once_and_the_others_wait(opened: Open, scratch: Path) -> None:
    client = await opened(replace(PATIENT, at_once=1))
    endless = asyncio.create_task(send(client, pdf_files.endless()))
    await until(lambda: len(rendering()) == 1, "the renderer")
    client.headers["Cookie"] = ANOTHER_USER
    pdf = pdf_files.of_pages(A4)
    waiting = asyncio.create_task(send(client, pdf))
    sizes = partial(sizes_in, scratch)
    await until(lambda: len(pdf) in sizes(), "the second PDF")
    assert not waiting.done() and len(rendering()) == 1
    rendering()[0].kill()
    assert form_of(await waiting)[0] == 1
    assert (await endless).status_code == 400


async def test_the_slow_pdfs_of_one_user_leave_a_turn_to_others(opened: Open) -> None:
    client = await opened(replace(PATIENT, at_once=2))
    slow = [asyncio.create_task(send(client, pdf_files.endless())) for _ in range(3)]
    await until(lambda: len(rendering()) == 1, "the renderer")
    client.headers["Cookie"] = ANOTHER_USER
    assert form_of(await send(client, pdf_files.of_pages(A4)))[0] == 1
    assert len(rendering()) == 1
    for one in slow:
        one.cancel()
    await asyncio.wait(slow)


async def test_beyond_what_may_wait_a_pdf_is_refused_whatever_the_cookie(
    opened: Open, scratch: Path
) -> None:
    client = await opened(replace(PATIENT, at_once=1, most=4))
    pdf = pdf_files.of_pages(A4)
    waiting = [asyncio.create_task(send(client, pdf_files.endless()))]
    await until(lambda: len(rendering()) == 1, "the renderer")
    client.headers["Cookie"] = ANOTHER_USER
    waiting.append(asyncio.create_task(send(client, pdf)))
    await until(lambda: len(pdf) in sizes_in(scratch), "the second PDF")
    client.headers["Cookie"] = f"llava_browser={'c' * 43}"
    refused = await send(client, pdf)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    card = refused.json()["card"]
    assert "page_busy" in card and "2 PDFs from your network" in card and "Wait a moment" in card
    rendering()[0].kill()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [400, 200]
    assert form_of(await send(client, pdf))[0] == 1


async def test_memory_is_limited(opened: Open) -> None:
    client = await opened(replace(PATIENT, memory_bytes=1))
    answer = await send(client, pdf_files.of_pages(A4))
    assert answer.status_code == 400 and "too much memory" in answer.json()["card"]


def test_a_renderer_that_is_left_alone_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_bytes(pdf_files.endless())
    limits = ("1", str(10**9), "1")  # a page, bytes of memory, seconds
    command = [sys.executable, "-m", PROGRAM, str(tmp_path / "x.pdf"), str(tmp_path), *limits]
    assert subprocess.run(command, check=False, timeout=600).returncode < 0


async def test_the_page_takes_pdfs_of_its_users_alone(
    make_services: MakeServices, tmp_path: Path
) -> None:
    write_users(tmp_path / "users", {"alice": hashed("alice knows", 4)})
    logins = LoginSessions.of(LoginConfig(auth_file=tmp_path / "users"), tmp_path)
    page = build_app(replace(make_services("http://127.0.0.1:9"), logins=logins))
    async with (
        serving.served(page.app, page.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=300) as client,
    ):
        pdf = pdf_files.of_pages((20, 20))
        assert (await send(client, pdf)).status_code == 401
        form = {"name": "alice", "password": "alice knows", "next": "/"}
        await client.post("/login", data=form, headers={"Origin": address})
        assert form_of(await send(client, pdf))[0] == 1
        client.headers["Origin"] = "http://elsewhere.example"
        assert (await send(client, pdf)).status_code == 403
