"""A stream whose worker dies in mid-answer goes on at another worker of the same fingerprint."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import httpx
import pytest

from llava_serve.cluster.forwarding.resume import Progress
from llava_serve.cluster.upstream.wire import LLAVA, NATIVE, Wire
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.body import BodyLimits
from llava_serve.protocol import sse
from llava_serve.protocol.resume import RESUME, mark
from llava_serve.request import Delta, GenerateRequest
from tests.cluster.conftest import BEARER, Cluster, Stack, StartController, chat
from tests.cluster.cutting import Answer, CutAfter, Cuts, CuttingProxy, read, serving_cut, worker_of

CHAT, OLD = "/v1/chat/completions", "/worker_generate_stream"
WORDS = "one two three four five six seven eight nine ten eleven twelve"
ASKED = chat(WORDS, stream=True, stream_options={"include_usage": True})
LLAVA_ASKED = {"model": "echo", "prompt": f"{WORDS} ", "max_new_tokens": 99}
HALF = 1400  # bytes of an answer: some words


async def pair(cluster: Cluster, stack: Stack, *cuts: CutAfter) -> list[CuttingProxy]:
    """Start workers around one kind of engine, each before its own cuts."""
    return [
        await stack.enter(serving_cut(cluster.workers, worker_of(EchoEngine(), f"w{at}"), cut))
        for at, cut in enumerate(cuts)
    ]


async def cut_once(cluster: Cluster, stack: Stack, after: int = HALF) -> list[CuttingProxy]:
    """Start two workers, of which the one that is asked first is cut in its first answer."""
    cuts = Cuts(after)
    return await pair(cluster, stack, cuts, cuts)


async def metric(cluster: Cluster, name: str) -> float:
    lines = (await cluster.http.get("/metrics", headers=BEARER)).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def test_the_client_reads_one_whole_answer(cluster: Cluster, stack: Stack) -> None:
    proxies = await cut_once(cluster, stack)
    answer = read((await cluster.http.post(CHAT, json=ASKED)).content)
    assert sum(proxy.cut for proxy in proxies) == 1
    assert (answer.text, answer.roles, answer.reasons) == (WORDS, 1, ["stop"])
    assert (len(answer.ids), len(answer.created), answer.ends) == (1, 1, 1)
    assert answer.usage is not None
    assert (answer.usage["prompt_tokens"], answer.usage["completion_tokens"]) == (12, 12)
    assert (answer.error, answer.comments) == (None, [": resumed"])
    assert await metric(cluster, "llava_controller_resumed_total") == 1
    assert await metric(cluster, "llava_controller_requests_total") == 1


async def test_a_client_of_llava_s_wire_reads_one_whole_answer(
    cluster: Cluster, stack: Stack
) -> None:
    await cut_once(cluster, stack, 400)
    content = (await cluster.http.post(OLD, json=LLAVA_ASKED)).content
    texts = [json.loads(chunk)["text"] for chunk in content.split(b"\0")[:-1]]
    assert texts[-1] == f"{WORDS} {WORDS}"
    assert texts == sorted(texts, key=len)  # it never shrinks
    assert await metric(cluster, "llava_controller_resumed_total") == 1


@pytest.mark.parametrize("path", [CHAT, OLD])
async def test_wherever_it_is_cut_nothing_is_missing_and_nothing_comes_twice(
    cluster: Cluster, stack: Stack, path: str
) -> None:
    cuts = Cuts()
    await pair(cluster, stack, cuts, cuts)
    asked = ASKED if path == CHAT else LLAVA_ASKED
    whole = (await cluster.http.post(path, json=asked)).content
    for after in range(-200, len(whole) + 100, 97):
        cuts.left = [after]
        for worker in cluster.workers.known():
            cluster.workers.record_answer(worker)  # as if the last cut were long ago
        content = (await cluster.http.post(path, json=asked)).content
        assert content.split(b"\0")[-2:] == whole.split(b"\0")[-2:] or path == CHAT
        if path == CHAT:
            answer = read(content)
            assert (answer.text, answer.roles, answer.reasons) == (WORDS, 1, ["stop"])
            assert (answer.usage or {})["completion_tokens"] == 12
            assert (answer.ends, answer.error, len(answer.ids)) == (1, None, 1)


async def test_an_answer_goes_on_as_often_as_workers_die_that_got_on(
    cluster: Cluster, stack: Stack
) -> None:
    await pair(cluster, stack, *[Cuts(500, 500, 500, 500, 500)] * 2)
    answer = read((await cluster.http.post(CHAT, json=ASKED)).content)
    assert (answer.text, answer.error) == (WORDS, None)
    assert len(answer.comments) >= 4


async def test_stop_strings_and_limits_count_the_words_before_the_cut(
    cluster: Cluster, stack: Stack
) -> None:
    cuts = Cuts(HALF)
    await pair(cluster, stack, cuts, cuts)
    stopped = read((await cluster.http.post(CHAT, json=ASKED | {"stop": "nine"})).content)
    cuts.left = [HALF]
    limited = read((await cluster.http.post(CHAT, json=ASKED | {"max_tokens": 10})).content)
    assert (stopped.text, stopped.reasons) == (WORDS.partition("nine")[0], ["stop"])
    assert (limited.text, limited.reasons) == (WORDS.partition("eleven")[0], ["length"])
    assert [len(stopped.comments), len(limited.comments)] == [1, 1]


class OtherEchoEngine(EchoEngine):
    fingerprint = "another"


class UnknownEchoEngine(EchoEngine):
    fingerprint = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("first", "second", "fields"),
    [
        pytest.param(EchoEngine, OtherEchoEngine, {}, id="other weights"),
        pytest.param(UnknownEchoEngine, UnknownEchoEngine, {}, id="nobody knows the weights"),
        pytest.param(EchoEngine, EchoEngine, {"n": 2}, id="two answers"),
        pytest.param(EchoEngine, EchoEngine, {"logprobs": True}, id="log probabilities"),
    ],
)
async def test_what_nobody_can_go_on_with_ends_with_one_error(
    cluster: Cluster,
    stack: Stack,
    first: type[EchoEngine],
    second: type[EchoEngine],
    fields: dict[str, Any],
) -> None:
    cuts = Cuts(HALF, *[0] * 9)
    for worker_id, kind in (("first", first), ("second", second)):
        await stack.enter(serving_cut(cluster.workers, worker_of(kind(), worker_id), cuts))
    answer = read((await cluster.http.post(CHAT, json=ASKED | fields)).content)
    assert (answer.error or {})["code"] == "worker_lost"
    assert (answer.ends, ": resumed" in answer.comments) == (0, False)


async def test_no_resume_ends_it_with_the_error(
    start_controller: StartController, stack: Stack
) -> None:
    cluster = await start_controller(resumes=False)
    await cut_once(cluster, stack)
    answer = read((await cluster.http.post(CHAT, json=ASKED)).content)
    assert (answer.error or {})["code"] == "worker_lost"
    assert WORDS.startswith(answer.text)


async def test_no_client_sees_a_mark_or_the_header(cluster: Cluster, stack: Stack) -> None:
    await pair(cluster, stack, Cuts())
    for path, asked in ((CHAT, ASKED), (OLD, LLAVA_ASKED)):
        answer = await cluster.http.post(path, json=asked, headers={RESUME: "1"})
        assert b": tokens" not in answer.content
        assert RESUME not in answer.headers


@pytest.mark.parametrize("path", [CHAT, OLD])
async def test_a_client_cannot_begin_the_answer(cluster: Cluster, stack: Stack, path: str) -> None:
    await pair(cluster, stack, Cuts())
    asked = (ASKED if path == CHAT else LLAVA_ASKED) | {"resume_tokens": [0, 1, 2]}
    answer = await cluster.http.post(path, json=asked, headers={RESUME: "1"})
    assert b"resume_tokens" in answer.content
    assert b"two" not in answer.content


class HeldEchoEngine(EchoEngine):
    """Stops before a word for ever; `held` counts the answers that have come to it."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.held = asyncio.Semaphore(0)
        self._count = count

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        async with aclosing(super().stream(request)) as deltas:
            async for delta in deltas:
                if "four" in delta.text:
                    self.held.release()
                    await asyncio.Event().wait()
                yield delta

    async def all_held(self) -> None:
        for _ in range(self._count):
            await self.held.acquire()


async def asked_of_a_worker_that_stops(
    cluster: Cluster, stack: Stack, asked: dict[str, Any], count: int = 1
) -> list[Answer]:
    """Ask a worker that is stopped while it answers; another one has come by then."""
    async with AsyncExitStack() as first:
        engine = HeldEchoEngine(count)
        await first.enter_async_context(serving_cut(cluster.workers, worker_of(engine, "first")))
        asking = [asyncio.create_task(cluster.http.post(CHAT, json=asked)) for _ in range(count)]
        await engine.all_held()
        await pair(cluster, stack, Cuts())
    return [read((await each).content) for each in asking]


async def test_a_worker_that_stops_hands_its_answers_over(cluster: Cluster, stack: Stack) -> None:
    (answer,) = await asked_of_a_worker_that_stops(cluster, stack, ASKED)
    assert (answer.text, answer.error) == (WORDS, None)


async def test_bodies_are_kept_only_while_there_is_room(
    start_controller: StartController, stack: Stack
) -> None:
    cluster = await start_controller(bodies=BodyLimits(max_bytes=len(json.dumps(ASKED)) + 10))
    answers = await asked_of_a_worker_that_stops(cluster, stack, ASKED, count=5)
    whole = [answer for answer in answers if answer.text == WORDS]
    (cut,) = (answer for answer in answers if answer.error)
    assert (len(whole), cut.text) == (4, "one two three ")
    assert (cut.error or {})["code"] == "interrupted"
    for worker in cluster.workers.known():
        cluster.workers.deregister(worker.address)
    again = await asked_of_a_worker_that_stops(cluster, stack, ASKED)  # there is room once more
    assert again[0].error is None


async def test_an_answer_at_whose_word_connections_break_is_tried_three_times(
    cluster: Cluster, stack: Stack
) -> None:
    proxies = await pair(cluster, stack, *[Cuts(HALF, *[0] * 9)] * 5)
    answer = read((await cluster.http.post(CHAT, json=ASKED)).content)
    assert (answer.error or {})["code"] == "worker_lost"
    assert sum(proxy.cut for proxy in proxies) == 3


async def test_a_worker_that_comes_back_goes_on_itself(cluster: Cluster, stack: Stack) -> None:
    await pair(cluster, stack, Cuts(HALF))
    answer = read((await cluster.http.post(CHAT, json=ASKED)).content)
    assert (answer.text, answer.error) == (WORDS, None)


@pytest.mark.parametrize("wire", [NATIVE, LLAVA])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_text_and_tokens_never_part(wire: Wire, size: int) -> None:
    sent = b"".join(
        b'{"text": "%d"}' % at + wire.separator + mark((at, at + 1), wire.separator)
        for at in range(0, 20, 2)
    )
    progress = Progress(wire)
    passed = b""
    whole = sent.split(wire.separator)[:-1]
    for at in range(0, len(whole), size):
        passed += progress.take(wire.separator.join(whole[at : at + size]) + wire.separator)
        texts = passed.count(b"text")
        assert progress.tokens.count(b",") == max(2 * texts - 1, 0)
    assert passed == b"".join(b'{"text": "%d"}' % at + wire.separator for at in range(0, 20, 2))
    assert progress.tokens == b",".join(b"%d" % at for at in range(20))


def test_what_waits_for_its_mark_comes_with_the_end() -> None:
    progress = Progress(NATIVE)
    last = b'data: {"choices": [1]}\n\n'
    assert progress.take(last) == b""
    assert (progress.pending, progress.has_ended) == (last, False)
    end = sse.encode(sse.DONE)
    assert (progress.take(end), progress.has_ended) == (last + end, True)


def test_what_waits_for_its_mark_does_not_come_with_an_error() -> None:
    progress = Progress(NATIVE)
    error = b'data: {"error": {"code": "interrupted"}}\n\n'
    assert (progress.take(b'data: {"choices": [1]}\n\n' + error), progress.pending) == (error, b"")


async def test_the_whole_body_of_a_request_that_is_not_streamed_is_asked_for_again(
    cluster: Cluster, stack: Stack
) -> None:
    await cut_once(cluster, stack, 300)
    answer: httpx.Response = await cluster.http.post(CHAT, json=chat(WORDS))
    assert answer.json()["choices"][0]["message"]["content"] == WORDS
