"""Batches through the official client: every line is answered once, by the rules of its key."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.cluster.batches.conftest import (
    CHAT,
    Client,
    batch_controller,
    client_of,
    jsonl,
    line,
    lines,
)
from tests.cluster.files.test_routes import PICTURE, SIZE, URL, make_file_store
from tests.cluster.keyed import Keyed, echo_worker
from tests.until import until


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    async with batch_controller(tmp_path) as keyed, echo_worker(keyed):
        yield keyed


@pytest.fixture
async def client(keyed: Keyed) -> AsyncIterator[Client]:
    async with client_of(keyed) as client:
        yield client


def texts(results: list[dict[str, Any]]) -> dict[str, str]:
    return {
        each["custom_id"]: each["response"]["body"]["choices"][0]["message"]["content"]
        for each in results
    }


async def test_a_batch_is_answered_line_by_line(client: Client) -> None:
    begun = await client.begin(lines(20), metadata={"for": "the test"})
    assert (begun.status, begun.object, begun.endpoint) == ("validating", "batch", CHAT)
    assert begun.expires_at == begun.created_at + 24 * 3600
    batch = await client.reached(begun.id, "completed")
    counts = batch.request_counts
    assert counts and (counts.total, counts.completed, counts.failed) == (20, 20, 0)
    assert batch.metadata == {"for": "the test"}
    assert batch.in_progress_at and batch.finalizing_at and batch.completed_at
    assert batch.error_file_id is None
    found = await client.results(batch.output_file_id)
    assert texts(found) == {f"q-{number}": "one two" for number in range(1, 21)}
    assert len({each["id"] for each in found}) == 20
    assert all(each["response"]["status_code"] == 200 for each in found)
    assert all(each["response"]["request_id"].startswith("req-") for each in found)
    assert all(each["error"] is None for each in found)
    kept = await client.openai.files.retrieve(str(batch.output_file_id))
    assert (kept.purpose, kept.filename) == ("batch_output", f"{batch.id}_output.jsonl")


async def test_a_request_that_fails_has_its_own_body_in_the_error_file(client: Client) -> None:
    missing = {"type": "image_file", "image_file": {"file_id": "file-" + "0" * 32}}
    content: Any = [missing, {"type": "text", "text": "what is it"}]
    begun = await client.begin([line(1), line(2, text=content), line(3)])
    batch = await client.reached(begun.id, "completed")
    assert set(texts(await client.results(batch.output_file_id))) == {"q-1", "q-3"}
    (failed,) = await client.results(batch.error_file_id)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("q-2", 404)
    assert failed["response"]["body"]["error"]["code"] == "file_not_found"
    counts = batch.request_counts
    assert counts and (counts.completed, counts.failed) == (2, 1)


async def test_questions_bring_pictures_or_name_them(client: Client) -> None:
    kept = await client.openai.files.create(file=("shape.png", PICTURE), purpose="vision")
    parts: list[Any] = [
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "image_file", "image_file": {"file_id": kept.id}},
    ]
    asked = [
        line(number, text=[part, {"type": "text", "text": "what"}])  # type: ignore[arg-type]
        for number, part in enumerate(parts, 1)
    ]
    begun = await client.begin(asked)
    batch = await client.reached(begun.id, "completed")
    told = texts(await client.results(batch.output_file_id))
    assert told == dict.fromkeys(("q-1", "q-2"), f"[1 picture: {SIZE}] what")


async def test_other_endpoints_have_batches_too(client: Client) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "/v1/completions": {"prompt": "one two"},
        "/v1/responses": {"input": "one two"},
        "/v1/messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "one two"}]},
    }
    for endpoint, body in bodies.items():
        asked = {"custom_id": "q-1", "method": "POST", "url": endpoint}
        begun = await client.begin([{**asked, "body": {"model": "echo", **body}}], endpoint)
        batch = await client.reached(begun.id, "completed", "failed")
        (answered,) = await client.results(batch.output_file_id)
        assert "one two" in json.dumps(answered["response"]["body"])


async def test_what_is_wrong_is_told_by_its_line_and_nothing_is_asked(keyed: Keyed) -> None:
    asked = [line(1), line(2, max_tokens=-1), line(3, model="other"), line(4, model="gone")]
    async with client_of(keyed, "limited", models=("echo", "gone")) as client:
        batch = await client.reached((await client.begin(asked)).id, "failed", "completed")
    assert batch.status == "failed"
    assert batch.failed_at
    assert batch.errors and batch.errors.data
    assert [(each.code, each.line, each.param) for each in batch.errors.data] == [
        ("invalid_field", 2, "body.max_tokens"),
        ("model_not_allowed", 3, "body.model"),
        ("model_not_found", 4, "body.model"),
    ]
    assert (batch.output_file_id, batch.error_file_id) == (None, None)


async def test_a_batch_that_cannot_be_made_is_refused(client: Client) -> None:
    whole: Any = {
        "input_file_id": await client.upload(jsonl([line(1)])),
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "now"}, "24h or 7d"),
        ({"completion_window": "31d"}, "30 days"),
        ({"input_file_id": "file-1"}, "file"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"extra_body": {"priority": 1}}, "priority"),
    ]
    for fields, words in wrong:
        with pytest.raises(openai.APIStatusError, match=words):
            await client.openai.batches.create(**{**whole, **fields})
    assert [each async for each in client.openai.batches.list()] == []


async def test_the_input_must_be_uploaded_for_a_batch(client: Client) -> None:
    kept = await client.openai.files.create(file=("a.png", PICTURE), purpose="vision")
    with pytest.raises(openai.BadRequestError, match="purpose vision"):
        await client.openai.batches.create(
            input_file_id=kept.id, endpoint="/v1/chat/completions", completion_window="24h"
        )


async def test_batches_are_listed_page_by_page_for_their_key_alone(
    keyed: Keyed, client: Client
) -> None:
    ids = {(await client.begin([line(1)])).id for _ in range(3)}
    assert {each.id async for each in client.openai.batches.list(limit=1)} == ids
    async with client_of(keyed, "bob") as bob:
        assert [each async for each in bob.openai.batches.list()] == []
        for ask in (bob.openai.batches.retrieve, bob.openai.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                await ask(next(iter(ids)))


async def test_the_tokens_of_a_batch_are_charged_to_its_key(keyed: Keyed, client: Client) -> None:
    begun = await client.begin(lines(3))
    await client.reached(begun.id, "completed")
    answer = await client.openai.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "one two"}]
    )
    assert answer.usage
    expected = 4 * answer.usage.total_tokens
    (key,) = (one for one, _ in await asyncio.to_thread(keyed.store.all_keys))
    used = keyed.accounts.keys.tokens_this_month
    await until(lambda: used(key) == expected, f"{expected} tokens")


async def test_what_a_batch_answered_is_kept_beyond_the_quota(tmp_path: Path) -> None:
    content = jsonl(lines(4))
    files = make_file_store(tmp_path, owner_bytes=len(content) + 10)
    async with (
        batch_controller(tmp_path, files=files) as keyed,
        echo_worker(keyed),
        client_of(keyed) as client,
    ):
        begun = await client.begin(lines(4))
        batch = await client.reached(begun.id, "completed")
        assert len(await client.results(batch.output_file_id)) == 4
        with pytest.raises(openai.APIStatusError) as refused:
            await client.openai.batches.create(
                input_file_id=begun.input_file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
            )
    assert refused.value.code == "file_quota_exceeded"


async def test_without_files_there_are_no_batches(tmp_path: Path) -> None:
    async with batch_controller(tmp_path, files=None) as keyed:
        headers = await keyed.headers()
        answer = await keyed.http.get("/v1/batches", headers=headers)
    assert answer.status_code == 404
