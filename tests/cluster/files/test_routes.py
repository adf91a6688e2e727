"""Files through the official client: uploaded once, named in questions, seen by their key alone."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llava_serve.cluster.files.file_store import FileStore, FileStoreLimits
from llava_serve.media.limits import FileLimits
from tests.cluster.keyed import Keyed, echo_worker, keyed_controller
from tests.media.drawn import corner_marked, encoded

PICTURE = encoded(corner_marked())
URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
SIZE = "x".join(map(str, corner_marked().size))
CHARSET_FORM = b'--B\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--B--\r\n'
CHAT = "/v1/chat/completions"


def make_file_store(folder: Path, owner_bytes: int = 10**7) -> FileStore:
    limits = FileStoreLimits(
        owner_bytes=owner_bytes,
        total_bytes=10**8,
        expiry_s=3600,
        file=FileLimits(10**7, 10**8),
    )
    return FileStore(folder / "files", limits)


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    store = make_file_store(tmp_path)
    async with keyed_controller(tmp_path, files=store) as keyed, echo_worker(keyed):
        yield keyed


@pytest.fixture
async def open_controller(tmp_path: Path) -> AsyncIterator[Keyed]:
    store = make_file_store(tmp_path)
    async with keyed_controller(tmp_path, files=store, asks_for_keys=False) as keyed:
        yield keyed


@asynccontextmanager
async def client_of(keyed: Keyed, name: str) -> AsyncIterator[openai.AsyncOpenAI]:
    key = await keyed.key(name)
    async with openai.AsyncOpenAI(
        base_url=f"{keyed.address}/v1", api_key=key, max_retries=0
    ) as client:
        yield client


def said(*parts: dict[str, Any], text: str = "what is it") -> list[Any]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def brought(uuid: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": URL}, "uuid": uuid}


async def asked(client: openai.AsyncOpenAI, *parts: dict[str, Any]) -> str:
    answer = await client.chat.completions.create(model="echo", messages=said(*parts))
    return answer.choices[0].message.content or ""


async def test_a_file_is_uploaded_listed_read_and_deleted(keyed: Keyed) -> None:
    async with client_of(keyed, "alice") as client:
        kept = await client.files.create(file=("shape.png", PICTURE), purpose="vision")
        assert (kept.filename, kept.bytes, kept.purpose) == ("shape.png", len(PICTURE), "vision")
        assert kept.expires_at == kept.created_at + 3600
        assert await client.files.retrieve(kept.id) == kept
        other = await client.files.create(file=("b.png", PICTURE), purpose="user_data")
        assert {each.id async for each in client.files.list()} == {kept.id, other.id}
        assert [each.id async for each in client.files.list(purpose="vision")] == [kept.id]
        assert len([each async for each in client.files.list(limit=1)]) == 2  # page by page
        content = await client.files.content(kept.id)
        assert content.read() == PICTURE
        assert content.response.headers["content-type"] == "image/png"
        assert (await client.files.delete(kept.id)).deleted
        with pytest.raises(openai.NotFoundError) as gone:
            await client.files.retrieve(kept.id)
    assert gone.value.code == "file_not_found"


async def test_a_lifetime_of_its_own_is_honoured(keyed: Keyed) -> None:
    async with client_of(keyed, "alice") as client:
        kept = await client.files.create(
            file=("a.png", PICTURE),
            purpose="vision",
            expires_after={"anchor": "created_at", "seconds": 60},
        )
        assert kept.expires_at == kept.created_at + 60


@pytest.mark.parametrize(
    "named",
    [
        lambda file_id: {"type": "image_file", "image_file": {"file_id": file_id}},
        lambda file_id: {"type": "input_image", "file_id": file_id},
        lambda file_id: {"type": "file", "file": {"file_id": file_id}},
    ],
)
async def test_a_question_names_a_file_and_is_answered_about_the_picture(
    keyed: Keyed, named: Any
) -> None:
    async with client_of(keyed, "alice") as client:
        kept = await client.files.create(file=("shape.png", PICTURE), purpose="vision")
        part = named(kept.id)
        assert await asked(client, part) == f"[1 picture: {SIZE}] what is it"
        assert await asked(client, part, part) == f"[2 pictures: {SIZE}, {SIZE}] what is it"
        stream = await client.chat.completions.create(
            model="echo", messages=said(part), stream=True
        )
        deltas = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(deltas) == f"[1 picture: {SIZE}] what is it"


async def test_other_protocols_name_files_too(keyed: Keyed) -> None:
    async with client_of(keyed, "alice") as client:
        kept = await client.files.create(file=("shape.png", PICTURE), purpose="vision")
        named: Any = {"type": "input_image", "file_id": kept.id, "detail": "low"}
        text: Any = {"type": "input_text", "text": "what is it"}
        told = await client.responses.create(
            model="echo", input=[{"role": "user", "content": [named, text]}]
        )
        assert told.output_text == f"[1 picture: {SIZE}] what is it"
        image = {"type": "image", "source": {"type": "file", "file_id": kept.id}}
        message = await keyed.http.post(
            "/v1/messages",
            json={"model": "echo", "max_tokens": 20, "messages": said(image)},
            headers={"x-api-key": client.api_key},
        )
        assert message.json()["content"][0]["text"] == f"[1 picture: {SIZE}] what is it"
        nothing: Any = {"type": "input_image"}
        with pytest.raises(openai.BadRequestError, match="image_url or a file_id"):
            await client.responses.create(
                model="echo", input=[{"role": "user", "content": [nothing]}]
            )


async def test_an_inspection_knows_the_file_and_its_detail(keyed: Keyed) -> None:
    async with client_of(keyed, "alice") as client:
        kept = await client.files.create(file=("shape.png", PICTURE), purpose="vision")
        part = {"type": "image_file", "image_file": {"file_id": kept.id, "detail": "low"}}
        told = await client.post(
            "/inspect", body={"model": "echo", "messages": said(part)}, cast_to=httpx.Response
        )
        url = f"{keyed.address}/tokenize"
        tokens = await client.post(
            url, body={"model": "echo", "messages": said(part)}, cast_to=httpx.Response
        )
    (media,) = told.json()["media"]
    assert media["sent_size"] == list(corner_marked().size)
    assert tokens.json()["count"] == told.json()["prompt"]["tokens"]


async def test_another_key_gets_404_everywhere(keyed: Keyed) -> None:
    async with client_of(keyed, "alice") as alice, client_of(keyed, "bob") as bob:
        kept = await alice.files.create(file=("shape.png", PICTURE), purpose="vision")
        for ask in (bob.files.retrieve, bob.files.content, bob.files.delete):
            with pytest.raises(openai.NotFoundError):
                await ask(kept.id)
        part = {"type": "image_file", "image_file": {"file_id": kept.id}}
        with pytest.raises(openai.NotFoundError) as refused:
            await asked(bob, part)
        assert (refused.value.code, refused.value.param) == (
            "file_not_found",
            "messages.0.content.0",
        )
        assert [each async for each in bob.files.list()] == []
        assert SIZE in await asked(alice, part)


async def test_without_a_key_nothing_is_taken(keyed: Keyed) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{keyed.address}/v1", api_key="none", max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.files.create(file=("a.png", PICTURE), purpose="vision")
    answer = await keyed.http.get("/v1/files")
    assert answer.status_code == 401


async def test_a_picture_with_a_uuid_is_sent_once(keyed: Keyed) -> None:
    whole = brought("shape-1")
    async with client_of(keyed, "alice") as alice, client_of(keyed, "bob") as bob:
        assert SIZE in await asked(alice, whole)
        images: tuple[dict[str, str] | None, ...] = ({}, None)
        for image in images:
            again = {"type": "image_url", "image_url": image, "uuid": "shape-1"}
            assert await asked(alice, again) == f"[1 picture: {SIZE}] what is it"
            with pytest.raises(openai.NotFoundError, match="shape-1"):
                await asked(bob, again)


async def test_a_picture_with_a_uuid_is_named_in_the_request_that_brings_it(keyed: Keyed) -> None:
    again = {"type": "image_url", "uuid": "shape-1"}
    async with client_of(keyed, "alice") as alice:
        sizes = f"{SIZE}, {SIZE}"
        assert sizes in await asked(alice, brought("shape-1"), again)


async def test_a_request_that_is_refused_keeps_nothing(keyed: Keyed) -> None:
    async with client_of(keyed, "alice") as client:
        for body in (
            {"model": "echo", "messages": said(brought("shape-1")), "max_tokens": -1},
            {"model": "echo", "messages": [*said(brought("shape-1")), {"role": "nobody"}]},
        ):
            for path in ("/chat/completions", "/inspect", f"{keyed.address}/tokenize"):
                with pytest.raises(openai.BadRequestError):
                    await client.post(path, body=body, cast_to=httpx.Response)
        assert [each async for each in client.files.list()] == []


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (brought("shape-1"), "invalid_field"),
        ({"type": "image_url", "uuid": "shape-1"}, "file_not_found"),
        ({"type": "image_file", "image_file": {"file_id": "file-1"}}, "file_not_found"),
    ],
)
async def test_a_request_names_so_many_files(keyed: Keyed, part: Any, code: str) -> None:
    async with client_of(keyed, "alice") as client:
        with pytest.raises(openai.BadRequestError, match="more than 256 files"):
            await asked(client, *[part] * 257)
        assert [each async for each in client.files.list()] == []
        with pytest.raises(openai.APIStatusError) as refused:  # for another reason
            await asked(client, *[part] * 256)
    assert refused.value.code == code
    assert "256 files" not in refused.value.message


async def test_a_picture_that_cannot_be_kept_is_answered_about(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    store = make_file_store(tmp_path)
    async with (
        keyed_controller(tmp_path, files=store) as keyed,
        echo_worker(keyed),
        client_of(keyed, "alice") as client,
    ):
        assert SIZE in await asked(client, brought("shape-1"))
        with pytest.raises(openai.InternalServerError) as failed:
            await client.files.create(file=("a.png", PICTURE), purpose="vision")
    assert failed.value.code == "storage_failed"


@pytest.mark.parametrize(
    ("file", "purpose", "code", "words"),
    [
        (("a.txt", b"hello"), "vision", "media_unreadable", "text"),
        (("a.png", PICTURE[:30]), "vision", "media_unreadable", "PNG"),
        (("a.png", PICTURE), "fine-tune", "invalid_field", "purpose"),
    ],
)
async def test_what_is_no_picture_for_questions_is_refused(
    keyed: Keyed, file: tuple[str, bytes], purpose: Any, code: str, words: str
) -> None:
    async with client_of(keyed, "alice") as client:
        with pytest.raises(openai.BadRequestError, match=words) as refused:
            await client.files.create(file=file, purpose=purpose)
        assert refused.value.code == code
        assert [each async for each in client.files.list()] == []


async def test_a_key_has_a_quota(tmp_path: Path) -> None:
    store = make_file_store(tmp_path, owner_bytes=len(PICTURE) + 10)
    async with keyed_controller(tmp_path, files=store) as keyed, client_of(keyed, "a") as client:
        await client.files.create(file=("a.png", PICTURE), purpose="vision")
        with pytest.raises(openai.APIStatusError, match="more than") as refused:
            await client.files.create(file=("b.gif", PICTURE + b"\0" * 99), purpose="vision")
    assert (refused.value.status_code, refused.value.code) == (413, "file_quota_exceeded")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"{}", "application/json", "multipart"),
        (b"no form", "multipart/form-data; boundary=x", "multipart"),
        (b"no form", "multipart/form-data", "multipart"),
        (CHARSET_FORM, "multipart/form-data; boundary=B; charset=punycode", "punycode"),
        (CHARSET_FORM, "multipart/form-data; boundary=B; charset=undefined", "undefined"),
        (CHARSET_FORM, "multipart/form-data; boundary=B; charset=utf-16", "send it in UTF-8"),
        (CHARSET_FORM, "multipart/form-data; boundary=B; charset=unicode_escape", "UTF-8"),
        (CHARSET_FORM[:-7], "multipart/form-data; boundary=B", "is cut off"),
        (CHARSET_FORM[:20], "multipart/form-data; boundary=B", "is cut off"),
    ],
)
async def test_a_body_that_is_no_form_is_refused(
    open_controller: Keyed, body: bytes, kind: str, words: str
) -> None:
    headers = {"Content-Type": kind}
    answer = await open_controller.http.post("/v1/files", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_field")
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{own}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 415),
        ({"Sec-Fetch-Site": "same-site"}, 415),
    ],
)
async def test_a_form_of_a_foreign_page_is_refused(
    open_controller: Keyed, headers: dict[str, str], status: int
) -> None:
    shown = {name: value.format(own=open_controller.address) for name, value in headers.items()}
    answer = await open_controller.http.post(
        "/v1/files",
        files={"file": ("a.png", PICTURE)},
        data={"purpose": "vision"},
        headers=shown,
    )
    assert answer.status_code == status
    listed = await open_controller.http.get("/v1/files")
    assert len(listed.json()["data"]) == (status == 200)


async def test_forms_are_taken_for_files_only(open_controller: Keyed) -> None:
    answer = await open_controller.http.post(CHAT, files={"file": ("a.png", PICTURE)})
    assert answer.status_code == 415


async def test_too_large_a_file_is_refused_before_it_is_read(open_controller: Keyed) -> None:
    host, _, port = open_controller.address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 201000000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()


async def test_many_names_of_a_large_picture_are_beyond_the_limit_of_bodies(
    keyed: Keyed,
) -> None:
    large = PICTURE + b"\0" * 7_000_000
    async with client_of(keyed, "alice") as client:
        kept = await client.files.create(file=("a.png", large), purpose="vision")
        part = {"type": "image_file", "image_file": {"file_id": kept.id}}
        assert SIZE in await asked(client, part)
        with pytest.raises(openai.APIStatusError) as refused:
            await asked(client, *[part] * 6)
    assert (refused.value.status_code, refused.value.code) == (413, "body_too_large")


async def test_a_controller_that_keeps_none_says_so(tmp_path: Path) -> None:
    async with keyed_controller(tmp_path) as keyed, client_of(keyed, "alice") as client:
        with pytest.raises(openai.NotFoundError):
            await client.files.create(file=("a.png", PICTURE), purpose="vision")
        with pytest.raises(openai.BadRequestError, match="keeps none"):
            await asked(client, {"type": "image_file", "image_file": {"file_id": "file-1"}})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_file", "image_file": {}},
        {"type": "image_file", "image_file": {"file_id": 3}},
        {"type": "image_file"},
        {"type": "image_url", "image_url": {}, "uuid": 3},
        {"type": "image_url", "image_url": {}},
        {"type": "file", "file": {"file_data": "data:,"}},
    ],
)
async def test_a_part_that_names_nothing_is_refused(keyed: Keyed, part: dict[str, Any]) -> None:
    async with client_of(keyed, "alice") as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await asked(client, part)
    assert refused.value.code == "invalid_field"
