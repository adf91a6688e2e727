"""Tokenisation through the controller: a worker of the model is asked, as for an inspection."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llava_serve.engines.echo import EchoEngine
from tests.cluster.conftest import BEARER, Cluster, Stack, StartWorker, chat
from tests.cluster.cutting import serving_cut, worker_of
from tests.cluster.keyed import Keyed, echo_worker, keyed_controller

TOKENIZE, DETOKENIZE = "/tokenize", "/detokenize"
TEXT = {"model": "echo", "prompt": "one two"}


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    async with keyed_controller(tmp_path) as keyed:
        yield keyed


async def test_a_prompt_goes_there_and_back(cluster: Cluster, stack: Stack) -> None:
    await stack.enter(serving_cut(cluster.workers, worker_of(EchoEngine(), "w")))
    told = (await cluster.http.post(TOKENIZE, json=TEXT)).json()
    messages = (await cluster.http.post(TOKENIZE, json=chat("one two"))).json()
    assert told["tokens"] == messages["tokens"]
    body = {"model": "echo", "tokens": told["tokens"]}
    assert (await cluster.http.post(DETOKENIZE, json=body)).json() == {"prompt": "one two"}
    metrics = (await cluster.http.get("/metrics", headers=BEARER)).text
    assert 'requests_total{outcome="ok",wire="tokenization"} 2.0' in metrics
    assert 'requests_total{outcome="ok",wire="detokenization"} 1.0' in metrics
    assert "generation_tokens_total{" not in metrics


async def test_it_is_for_those_who_may_ask_the_model(keyed: Keyed) -> None:
    other = await keyed.headers("other", models=("another",))
    alice = await keyed.headers("alice")
    async with echo_worker(keyed):
        assert (await keyed.http.post(TOKENIZE, json=TEXT)).status_code == 401
        assert (await keyed.http.post(TOKENIZE, json=TEXT, headers=other)).status_code == 403
        assert (await keyed.http.post(TOKENIZE, json=TEXT, headers=alice)).status_code == 200


async def test_a_worker_of_llava_s_own_is_not_asked(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    old = await start_worker(is_legacy=True, model="old")
    cluster.workers.register(old.address, old.status, now=0)
    refused = await cluster.http.post(TOKENIZE, json=TEXT | {"model": "old"})
    assert refused.status_code >= 400
    assert old.seen == []


@pytest.mark.parametrize("path", [TOKENIZE, DETOKENIZE])
async def test_what_is_wrong_with_a_body_the_controller_says(cluster: Cluster, path: str) -> None:
    refused = await cluster.http.post(path, json={"model": "echo"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_field")
