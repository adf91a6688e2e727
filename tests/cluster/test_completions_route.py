"""Text completions through the controller: as chat completions, on a path of their own."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llava_serve.engines.echo import EchoEngine
from tests.cluster.conftest import BEARER, Cluster, Stack, StartWorker
from tests.cluster.cutting import Cuts, never, read, serving_cut, worker_of
from tests.cluster.keyed import Keyed, echo_worker, keyed_controller

COMPLETIONS = "/v1/completions"
WORDS = "one two three four five six seven eight nine ten eleven twelve"


def asking(prompt: str = WORDS, model: str = "echo", **fields: Any) -> dict[str, Any]:
    return {"model": model, "prompt": prompt} | fields


async def test_an_answer_comes_through_the_controller(cluster: Cluster, stack: Stack) -> None:
    await stack.enter(serving_cut(cluster.workers, worker_of(EchoEngine(), "w"), never))
    whole = (await cluster.http.post(COMPLETIONS, json=asking())).json()
    streamed = read((await cluster.http.post(COMPLETIONS, json=asking(stream=True))).content)
    assert whole["choices"][0]["text"] == streamed.text == WORDS
    assert (streamed.reasons, streamed.ends, streamed.comments) == (["stop"], 1, [])
    metrics = (await cluster.http.get("/metrics", headers=BEARER)).text
    assert 'requests_total{outcome="ok",wire="completions"} 2.0' in metrics


@pytest.mark.parametrize("echo", [False, True])
async def test_wherever_a_stream_is_cut_another_worker_goes_on(
    cluster: Cluster, stack: Stack, echo: bool
) -> None:
    cuts = Cuts()
    for name in ("one", "two"):
        await stack.enter(serving_cut(cluster.workers, worker_of(EchoEngine(), name), cuts))
    asked = asking(stream=True, echo=echo, stream_options={"include_usage": True})
    whole = (await cluster.http.post(COMPLETIONS, json=asked)).content
    for after in range(-100, len(whole) + 100, 97):
        cuts.left = [after]
        for worker in cluster.workers.known():
            cluster.workers.record_answer(worker)  # as if the last cut were long ago
        answer = read((await cluster.http.post(COMPLETIONS, json=asked)).content)
        assert answer.text == (WORDS if echo else "") + WORDS
        assert (answer.reasons, answer.ends, answer.error) == (["stop"], 1, None)
        assert answer.usage is not None
        assert answer.usage["completion_tokens"] == 12
        assert len(answer.ids) == len(answer.created) == 1
    metrics = (await cluster.http.get("/metrics", headers=BEARER)).text
    assert 'resumed_total{wire="completions"}' in metrics


async def test_the_controller_refuses_what_no_worker_serves(cluster: Cluster) -> None:
    refusals: list[dict[str, Any]] = [{"prompt": []}, {"suffix": "x"}, {"prompt": "<image>"}]
    for fields in refusals:
        refused = await cluster.http.post(COMPLETIONS, json=asking() | fields)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(fields)))


async def test_a_worker_of_llava_s_own_is_not_asked(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    old = await start_worker(is_legacy=True, model="old")
    cluster.workers.register(
        old.address, old.status, time.monotonic(), is_legacy=True, expires=False
    )
    refused = await cluster.http.post(COMPLETIONS, json=asking(model="old"))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    assert old.seen == []


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    async with keyed_controller(tmp_path) as keyed:
        yield keyed


async def test_each_of_several_prompts_counts_for_its_key(keyed: Keyed) -> None:
    headers = await keyed.headers(models=("echo",))
    async with echo_worker(keyed):
        asked = asking() | {"prompt": ["one two", "three"]}
        told = await keyed.http.post(COMPLETIONS, json=asked, headers=headers)
        assert [choice["text"] for choice in told.json()["choices"]] == ["one two", "three"]
        assert await keyed.used() == 6


async def test_it_counts_for_its_key(keyed: Keyed) -> None:
    headers = await keyed.headers(models=("echo",))
    async with echo_worker(keyed):
        without = await keyed.http.post(COMPLETIONS, json=asking())
        told = await keyed.http.post(COMPLETIONS, json=asking("one two"), headers=headers)
        assert await keyed.used() == 4
    assert (without.status_code, told.status_code) == (401, 200)
