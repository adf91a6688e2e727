"""A worker beyond loopback answers the cluster's token, and keys that nobody has to count."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llava_serve.accounts.store import AccountStore, default_url
from llava_serve.api_key import ApiKey
from llava_serve.config import WorkerConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import KeyRefused, ModelNotAllowed
from llava_serve.worker.keys import WorkerKeys
from llava_serve.worker.lifecycle import LoadedModelWatch, WorkerLifecycle
from tests.worker.conftest import MakeWorker


@pytest.fixture
def store(tmp_path: Path) -> AccountStore:
    store = AccountStore(default_url(tmp_path))
    store.create_tables()
    return store


@pytest.fixture
async def keys(store: AccountStore, tmp_path: Path) -> AsyncIterator[WorkerKeys]:
    keys = WorkerKeys(WorkerConfig(state_dir=tmp_path), lambda: "echo")
    async with keys.opened():
        yield keys


async def test_a_key_without_limits_is_answered(store: AccountStore, keys: WorkerKeys) -> None:
    text = store.create(ApiKey(id="", name="a", models=("echo",))).text
    assert (await keys.find(text)).name == "a"


@pytest.mark.parametrize(
    "limit", ["requests_per_minute", "tokens_per_minute", "max_parallel", "monthly_tokens"]
)
async def test_a_key_whose_use_is_counted_is_for_the_controller(
    store: AccountStore, keys: WorkerKeys, limit: str
) -> None:
    text = store.create(ApiKey(id="", name="a", **{limit: 5})).text  # type: ignore[arg-type]
    with pytest.raises(KeyRefused, match="for the controller"):
        await keys.find(text)


async def test_a_key_for_other_models_is_refused(store: AccountStore, keys: WorkerKeys) -> None:
    text = store.create(ApiKey(id="", name="a", models=("other",))).text
    with pytest.raises(ModelNotAllowed):
        await keys.find(text)


async def test_where_the_accounts_are_out_of_reach_no_key_is_good(tmp_path: Path) -> None:
    keys = WorkerKeys(WorkerConfig(state_dir=tmp_path), lambda: "echo")
    async with keys.opened():
        with pytest.raises(KeyRefused, match="unknown"):
            await keys.find("sk-llava-000000000000-x")
    assert not default_file(tmp_path).exists()


def default_file(folder: Path) -> Path:
    return folder / "accounts.sqlite"


@pytest.mark.parametrize(
    ("flags", "asks"),
    [
        ({}, False),
        ({"require_keys": True}, True),
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "no_register": True}, True),
        ({"host": "0.0.0.0", "no_auth": True}, False),
        ({"host": "127.0.0.1", "no_auth": True}, False),
    ],
)
def test_keys_are_asked_for_beyond_loopback(
    make_worker: MakeWorker, tmp_path: Path, flags: dict[str, object], asks: bool
) -> None:
    engine = EchoEngine("echo")
    config = WorkerConfig(state_dir=tmp_path, **flags)  # type: ignore[arg-type]
    access = WorkerLifecycle(make_worker(engine), config, LoadedModelWatch(engine.card)).access
    assert (access.find_key is not None) is asks
    if asks:
        assert access.is_token((tmp_path / "cluster-token").read_text().strip())
