"""A controller that asks for keys, and a whole worker that answers it alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from llava_serve.accounts.accounts import Accounts
from llava_serve.accounts.store import AccountStore, default_url
from llava_serve.api_key import ApiKey
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.batches.batch_store import BatchStore
from llava_serve.cluster.files.file_store import FileStore
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.sharing.shared_state import SharedState
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.access import Access
from llava_serve.http.body import BodyLimits
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.cluster.conftest import TOKEN, EchoWorker
from tests.until import until


@dataclass
class Keyed:
    """A controller that asks for keys, and its accounts."""

    folder: Path
    address: str
    store: AccountStore
    accounts: Accounts
    workers: Registry
    http: httpx.AsyncClient

    async def key(self, name: str = "alice", **limits: Any) -> str:
        issued = await asyncio.to_thread(self.store.create, ApiKey(id="", name=name, **limits))
        await self.accounts.keys.find(issued.text)
        return issued.text

    async def headers(self, name: str = "alice", **limits: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {await self.key(name, **limits)}"}

    async def used(self, name: str = "alice") -> int:
        """Return the tokens of a key once they are there: they come behind the answer."""
        (key,) = [
            one for one, _ in await asyncio.to_thread(self.store.all_keys) if one.name == name
        ]
        await until(lambda: self.accounts.keys.tokens_this_month(key) > 0, "tokens of the key")
        return self.accounts.keys.tokens_this_month(key)

    def join(self, worker: EchoWorker) -> None:
        self.workers.register(worker.address, worker.status, asyncio.get_running_loop().time())


@asynccontextmanager
async def keyed_controller(
    folder: Path,
    *,
    is_audited: bool = False,
    state: SharedState | None = None,
    files: FileStore | None = None,
    batches: BatchStore | None = None,
    asks_for_keys: bool = True,
) -> AsyncIterator[Keyed]:
    store = AccountStore(default_url(folder))
    store.create_tables()
    accounts = Accounts(store, is_audited=is_audited)
    workers = Registry(shortest_queue)
    app = build_app(
        workers,
        AdmissionPolicy(TOKEN),
        ControllerSettings(
            access=Access(token=TOKEN, find_key=accounts.keys.find if asks_for_keys else None),
            accounts=accounts,
            bodies=BodyLimits(max_bytes=50_000_000, max_text_bytes=1_000_000),
            files=files,
            batches=batches,
            state=state,
        ),
    )
    async with (
        served(app) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as http,
    ):
        yield Keyed(folder, address, store, accounts, workers, http)


@asynccontextmanager
async def echo_worker(*controllers: Keyed, delay_s: float = 0.0) -> AsyncIterator[EchoEngine]:
    """Run a whole worker, which answers only who shows the cluster's token."""
    engine = EchoEngine("echo", delay_s)
    worker = ModelWorker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id="w")

    async def nobody(_: str) -> ApiKey:
        raise AssertionError("the controller showed something else than the token")

    access = Access(token=TOKEN, find_key=nobody)
    async with served(build_worker(worker, max_body_bytes=10**7, access=access)) as address:
        for controller in controllers:
            card = worker.status(worker.engine.card)
            now = asyncio.get_running_loop().time()
            controller.workers.register(address, card, now)
        yield engine
