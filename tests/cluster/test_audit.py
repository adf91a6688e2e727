"""What a controller writes down of requests, in the database and in its log."""

import asyncio
import base64
import hashlib
import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import TOKEN, chat
from tests.cluster.keyed import Keyed, echo_worker, keyed_controller
from tests.media.drawn import corner_marked, encoded
from tests.until import bounded

CHAT = "/v1/chat/completions"


@pytest.fixture
async def audited(tmp_path: Path) -> AsyncIterator[Keyed]:
    async with keyed_controller(tmp_path, is_audited=True) as keyed:
        yield keyed


def picture() -> bytes:
    return encoded(corner_marked())


def with_picture(text: str) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return {"model": "echo", "messages": [{"role": "user", "content": content}]}


async def test_the_audit_has_a_row_for_each_request_without_what_it_says(
    audited: Keyed, tmp_path: Path
) -> None:
    headers = await audited.headers() | {"X-Request-ID": "mine-1"}
    async with echo_worker(audited):
        asked = await audited.http.post(CHAT, json=with_picture("secret words"), headers=headers)
        assert asked.status_code == 200
        bad = await audited.http.post(CHAT, json=chat(model="none"), headers=headers)
        assert bad.status_code == 404
        old = {"model": "echo", "prompt": "<image> secret", "images": [_base64(picture())]}
        await audited.http.post("/worker_generate_stream", json=old, headers=headers)
        rows = await written(tmp_path / "accounts.sqlite", 3)
    seen = hashlib.sha256(picture()).hexdigest()
    assert [row["outcome"] for row in rows] == ["ok", "model_not_found", "ok"]
    assert [json.loads(row["image_sha256"]) for row in rows] == [[seen], [], [seen]]
    assert {row["request_id"] for row in rows} == {"mine-1"}
    assert (
        rows[0]["prompt_tokens"] + rows[0]["completion_tokens"]
        == (asked.json()["usage"]["total_tokens"])
    )
    assert rows[0]["worker"].startswith("http://127.0.0.1:")
    assert set(json.loads(rows[0]["timings"])) >= {"first_byte_s", "total_s"}
    for file in await asyncio.to_thread(lambda: list(tmp_path.iterdir())):
        assert b"secret" not in await asyncio.to_thread(file.read_bytes)


async def test_what_a_client_says_of_itself_is_in_the_row(audited: Keyed, tmp_path: Path) -> None:
    said = {"metadata": {"run": "7"}, "user": "u-1", "service_tier": "auto", "store": False}
    headers = await audited.headers()
    async with echo_worker(audited):
        for body in (chat("echo") | said, chat("echo")):
            asked = await audited.http.post(CHAT, json=body, headers=headers)
            assert asked.status_code == 200
        rows = await written(tmp_path / "accounts.sqlite", 2)
    assert [json.loads(row["client_fields"]) for row in rows] == [said, {}]


async def test_a_model_s_name_that_is_none_forges_no_line(
    audited: Keyed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked = chat(model="a\n12:00:00 I forged\0" + "b" * 300)
    await audited.http.post(CHAT, json=asked, headers=await audited.headers())
    (row,) = await written(tmp_path / "accounts.sqlite", 1)
    assert row["model"] == "a?12:00:00 I forged?" + "b" * 235
    assert not any("\n" in record.getMessage() for record in caplog.records)


async def written(file: Path, count: int) -> list[Any]:
    """Return the audit's rows once there are so many."""

    def read() -> list[Any]:
        with closing(sqlite3.connect(file)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute("SELECT * FROM api_requests ORDER BY id").fetchall()

    async with bounded(f"{count} rows"):
        while True:
            if len(rows := await asyncio.to_thread(read)) >= count:
                return rows
            await asyncio.sleep(0.01)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_no_log_line_has_a_key_a_prompt_or_a_picture(
    audited: Keyed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good = await audited.headers("good")
    refused = await audited.headers("refused", requests_per_minute=1)
    wrong = {"x-api-key": "sk-llava-000000000000-wrongsecret"}
    async with echo_worker(audited):
        for headers in (good, refused, refused, wrong):
            for path, body in (
                (CHAT, with_picture("zebra question")),
                (CHAT, with_picture("zebra question") | {"stream": True}),
                ("/worker_generate_stream", {"model": "echo", "prompt": "zebra question"}),
                ("/worker_generate_stream", {"model": "echo", "prompt": "zebra", "bad": 1}),
            ):
                await audited.http.post(path, json=body, headers=headers)
    log = caplog.text
    assert "rate_limit_exceeded" in log
    for shown in (good, refused):
        assert shown["Authorization"].removeprefix("Bearer ") not in log
    for secret in ("wrongsecret", "zebra", TOKEN, _base64(picture())[:40]):
        assert secret not in log
