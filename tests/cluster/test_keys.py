"""A controller with keys: who is answered, what is counted and what is charged."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llava_serve.accounts import keyring
from llava_serve.cluster.recording.accounting import charged_tokens
from llava_serve.cluster.recording.request_record import RequestRecord
from tests.cluster.conftest import BEARER, StartWorker, chat, status_of
from tests.cluster.keyed import Keyed, echo_worker, keyed_controller
from tests.until import bounded, until

CHAT = "/v1/chat/completions"


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    async with keyed_controller(tmp_path) as keyed:
        yield keyed


async def test_a_key_sees_and_asks_its_own_models_only(
    keyed: Keyed, start_worker: StartWorker
) -> None:
    for model in ("mine", "other"):
        keyed.join(await start_worker(model=model))
    headers = await keyed.headers(models=("mine",))
    listed = await keyed.http.get("/v1/models", headers=headers)
    assert [card["id"] for card in listed.json()["data"]] == ["mine"]
    assert (await keyed.http.get("/v1/models/other", headers=headers)).status_code == 404
    old = await keyed.http.post("/list_models", headers=headers)
    assert old.json() == {"models": ["mine"]}
    status = await keyed.http.post("/worker_get_status", headers=headers)
    assert status.json()["model_names"] == ["mine"]
    for model, has_address in (("mine", True), ("other", False)):
        found = await keyed.http.post("/get_worker_address", json={"model": model}, headers=headers)
        assert bool(found.json()["address"]) is has_address
        asked = await keyed.http.post(CHAT, json=chat(model=model), headers=headers)
        assert asked.status_code == (200 if has_address else 403)
    assert asked.json()["error"]["code"] == "model_not_allowed"
    assert len((await keyed.http.get("/v1/models", headers=BEARER)).json()["data"]) == 2


async def test_answers_end_with_their_key_and_the_slot_is_free(
    tmp_path: Path, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "REFRESH_S", 0.1)
    async with keyed_controller(tmp_path) as keyed, asyncio.TaskGroup() as tasks:
        headers = await keyed.headers()
        worker = await start_worker(capacity=1)
        keyed.join(worker)
        worker.may_go_on.clear()

        def ask(**options: Any) -> asyncio.Task[httpx.Response]:
            asked = keyed.http.post(CHAT, json=chat(**options), headers=headers)
            return tasks.create_task(asked)

        streamed = ask(stream=True)
        await worker.at_it.wait()
        waiting = ask()
        await asyncio.to_thread(keyed.store.revoke, "alice")
        answer, refused = await streamed, await waiting
        assert (answer.status_code, refused.status_code) == (200, 401)
        for ended in (answer, refused):
            (record,) = [line for line in ended.text.splitlines() if "error" in line]
            error = json.loads(record.removeprefix("data: "))["error"]
            assert error["code"] == "invalid_api_key"
            assert error["message"].startswith("the API key is revoked. ")
        assert [one.queue_length for one in keyed.workers.known()] == [0]
        worker.may_go_on.set()


@pytest.mark.parametrize("path", [CHAT, "/worker_generate_stream", "/list_models", "/v1/models"])
async def test_without_a_key_nobody_is_answered(keyed: Keyed, path: str) -> None:
    answer = await keyed.http.request("GET" if "models" in path else "POST", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "missing_api_key")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_charged_and_shows_nothing_of_it(keyed: Keyed, stream: bool) -> None:
    headers = await keyed.headers()
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    async with echo_worker(keyed):
        asked = chat("one two three", stream=stream, **options)
        answer = await keyed.http.post(CHAT, json=asked, headers=headers)
    assert ": usage" not in answer.text
    assert "x-llava-usage" not in answer.headers
    last = answer.text.split("\n\n")[-3].removeprefix("data: ") if stream else answer.text
    assert await keyed.used() == json.loads(last)["usage"]["total_tokens"]


async def test_llavas_wire_is_charged_too(keyed: Keyed) -> None:
    headers = await keyed.headers()
    body = {"model": "echo", "prompt": "USER: one two three ASSISTANT:"}
    async with echo_worker(keyed):
        answer = await keyed.http.post("/worker_generate_stream", json=body, headers=headers)
    assert b"usage" not in answer.content
    prompt = len(["USER:", "one", "two", "three", "ASSISTANT:"])
    assert await keyed.used() == 2 * prompt  # the echo of the prompt


async def test_who_leaves_is_charged_for_what_was_generated(keyed: Keyed) -> None:
    headers = await keyed.headers()
    async with echo_worker(keyed):
        asked = chat("word " * 2000, stream=True)
        async with keyed.http.stream("POST", CHAT, json=asked, headers=headers) as answer:
            async for _ in answer.aiter_bytes():
                break
    assert await keyed.used() > 2000  # the prompt, and some of the answer


async def until_refused(keyed: Keyed, headers: dict[str, str]) -> None:
    async with bounded("a refusal"):
        for _ in itertools.count():
            if (await keyed.http.get("/v1/models", headers=headers)).status_code == 401:
                return
            await asyncio.sleep(0.01)


async def test_a_key_that_is_revoked_while_its_request_waits_is_answered_nothing(
    keyed: Keyed, start_worker: StartWorker
) -> None:
    worker = await start_worker(capacity=1)
    worker.may_go_on.clear()
    keyed.join(worker)
    others, revoked = await keyed.headers("bob"), await keyed.headers("alice")
    first = asyncio.create_task(keyed.http.post(CHAT, json=chat(stream=True), headers=others))
    await worker.at_it.wait()
    second = asyncio.create_task(keyed.http.post(CHAT, json=chat(), headers=revoked))
    await asyncio.to_thread(keyed.store.revoke, "alice")
    await until_refused(keyed, revoked)
    worker.may_go_on.set()
    assert (await first).status_code == 200
    assert (await second).json()["error"]["message"].startswith("the API key is revoked. ")
    assert len(worker.seen) == 1


async def test_a_controller_in_front_of_another_counts_as_well(
    keyed: Keyed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(keyed_controller(tmp_path_factory.mktemp("front")))
        await stack.enter_async_context(echo_worker(keyed))
        status = status_of(worker_id="behind")
        front.workers.register(keyed.address, status, asyncio.get_running_loop().time())
        headers = await front.headers()
        for stream in (False, True):
            answer = await front.http.post(CHAT, json=chat(stream=stream), headers=headers)
            assert (answer.status_code, ": usage" in answer.text) == (200, False)
        assert await front.used() % 2 == 0


async def test_a_refusal_and_a_good_answer_tell_what_is_left(keyed: Keyed) -> None:
    headers = await keyed.headers(requests_per_minute=1)
    async with echo_worker(keyed):
        good = await keyed.http.post(CHAT, json=chat(), headers=headers)
        refused = await keyed.http.post(CHAT, json=chat(), headers=headers)
        old_body = {"model": "echo", "prompt": ""}
        old = await keyed.http.post("/worker_generate_stream", json=old_body, headers=headers)
    assert good.headers["x-ratelimit-remaining-requests"] == "0"
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-limit-requests"] == "1"
    assert "1 requests per minute" in json.loads(old.content.rstrip(b"\0"))["text"]
    assert old.headers["retry-after"]


@pytest.mark.parametrize("limit", ["tokens_per_minute", "monthly_tokens"])
async def test_a_burst_is_held_to_a_small_limit(
    keyed: Keyed, start_worker: StartWorker, limit: str
) -> None:
    limits: dict[str, Any] = {limit: 100}
    headers = await keyed.headers("alice", **limits)
    worker = await start_worker()
    keyed.join(worker)
    worker.may_go_on.clear()
    asked = chat(stream=True)
    burst = [
        asyncio.create_task(keyed.http.post(CHAT, json=asked, headers=headers)) for _ in range(30)
    ]
    await until(lambda: sum(task.done() for task in burst) == 29, "refusals")
    worker.may_go_on.set()
    statuses = [(await task).status_code for task in burst]
    assert (statuses.count(200), statuses.count(429), len(worker.seen)) == (1, 29, 1)
    await until(lambda: not keyed.accounts.limits.counts.tokens.here, "the end of the request")


@pytest.mark.parametrize("body", [chat(stream=True), chat("refuse"), chat(model="none")])
async def test_however_a_request_ends_it_is_expected_to_take_nothing_more(
    keyed: Keyed, start_worker: StartWorker, body: dict[str, Any]
) -> None:
    keyed.join(await start_worker(breaks=3))
    headers = await keyed.headers(tokens_per_minute=10_000)
    await keyed.http.post(CHAT, json=body, headers=headers)
    counts = keyed.accounts.limits.counts
    await until(lambda: not (counts.tokens.here or counts.answers.here), "the end of the request")


async def test_openais_client_backs_off_by_itself_and_succeeds(
    keyed: Keyed, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    keyed.join(worker)
    key = await keyed.key(max_parallel=1)
    refusals = 0

    async def let_the_first_end(answer: Any) -> None:
        nonlocal refusals
        if answer.status_code == 429:
            refusals += 1
            worker.may_go_on.set()

    http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [let_the_first_end]})
    async with openai.AsyncOpenAI(
        api_key=key, base_url=f"{keyed.address}/v1", http_client=http, max_retries=5
    ) as client:
        worker.may_go_on.clear()
        asked = {"model": "echo", "messages": [{"role": "user", "content": "one two"}]}
        first = await keyed.http.send(
            keyed.http.build_request(
                "POST", CHAT, json=asked | {"stream": True}, headers={"x-api-key": key}
            ),
            stream=True,
        )
        answer = await client.chat.completions.with_raw_response.create(
            model="echo", messages=[{"role": "user", "content": "one two"}]
        )
        assert (answer.status_code, answer.retries_taken) == (200, refusals)
        assert refusals >= 1
        assert (await first.aread()).endswith(b"data: [DONE]\n\n")
        await first.aclose()


async def test_openais_client_names_a_missing_key_for_what_it_is(keyed: Keyed) -> None:
    async with openai.AsyncOpenAI(
        api_key="EMPTY",
        base_url=f"{keyed.address}/v1",
        http_client=openai.DefaultAsyncHttpxClient(),
    ) as client:
        with pytest.raises(openai.AuthenticationError, match="unknown"):
            await client.models.list()


async def test_llavas_own_workers_are_not_shown_the_token(
    keyed: Keyed, start_worker: StartWorker
) -> None:
    worker = await start_worker(is_legacy=True)
    now = asyncio.get_running_loop().time()
    keyed.workers.register(worker.address, worker.status, now, is_legacy=True)
    body = {"model": "echo", "prompt": "one two"}
    headers = await keyed.headers()
    await keyed.http.post("/worker_generate_stream", json=body, headers=headers)
    (seen,) = worker.seen
    assert "authorization" not in seen.headers


async def test_an_answer_whose_worker_tells_no_usage_costs_what_was_expected(
    keyed: Keyed, start_worker: StartWorker
) -> None:
    worker = await start_worker(is_legacy=True)
    now = asyncio.get_running_loop().time()
    keyed.workers.register(worker.address, worker.status, now, is_legacy=True)
    body = {"model": "echo", "prompt": "four" * 10, "max_new_tokens": 7}
    headers = await keyed.headers()
    await keyed.http.post("/worker_generate_stream", json=body, headers=headers)
    assert await keyed.used() == 10 + 7


@pytest.mark.parametrize(
    ("outcome", "worker", "charged"),
    [
        ("ok", "http://w", 500),
        ("client_left", "http://w", 500),
        ("client_left", None, 0),
        ("line_full", None, 0),
        ("refused", "http://w", 0),
        ("worker_lost", "http://w", 0),
    ],
)
def test_without_usage_only_a_worker_that_worked_is_charged(
    outcome: str, worker: str | None, charged: int
) -> None:
    record = RequestRecord(
        request_id="r", wire="native", model="m", arrived_at=0, expected_tokens=500
    )
    record.worker, record.outcome = worker, outcome
    assert charged_tokens(record) == charged
