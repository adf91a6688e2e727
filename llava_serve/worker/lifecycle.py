"""Lifecycle of a worker process: it serves, registers, is watched, leaves and frees its engine."""

import asyncio
import logging
import secrets
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from llava_serve.accounts.config import asks_for_keys
from llava_serve.args import addresses_of
from llava_serve.background import background
from llava_serve.cluster.heartbeat import Membership, RegistrationClient, membership
from llava_serve.cluster_token import read_token, token_file
from llava_serve.config import MediaConfig, MembershipConfig
from llava_serve.engines.base import Engine, Load
from llava_serve.http import serving
from llava_serve.http.access import Access, Hosts
from llava_serve.http.cross_origin import Origins
from llava_serve.http.hosts import is_loopback
from llava_serve.http.tls import Tls
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.model_card import ModelCard
from llava_serve.tracing.span import open_tracer
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.keys import WorkerKeys
from llava_serve.worker.vitals import vitals_of
from llava_serve.worker.worker import ModelWorker

logger = logging.getLogger(__name__)

_HEALTH_CHECK_S = 1.0


class ModelWatch(Protocol):
    """Tells which model an engine serves: a process of its own may come, go and change models."""

    def watched(self) -> AbstractAsyncContextManager[None]:
        """Watch the model while the body runs."""
        ...

    async def change(self, known: ModelCard | None) -> ModelCard | None:
        """Wait until the served model is not `known`, and return it; None: nothing is served."""
        ...

    def load(self) -> Load | None:
        """Return the model's load; None where this worker's own count is all of it."""
        ...


class LoadedModelWatch:
    """Tells of a model that this process loaded: it is served as long as the process runs."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    def watched(self) -> AbstractAsyncContextManager[None]:
        """Watch nothing."""
        return nullcontext()

    async def change(self, known: ModelCard | None) -> ModelCard | None:
        """Return the model at the first call; no later one returns."""
        if known is self._card:
            await asyncio.Event().wait()
        return self._card

    def load(self) -> None:
        """Leave it to the worker's own count."""


def serve(
    engine: Engine, config: MembershipConfig, media: MediaConfig, watch: ModelWatch | None = None
) -> None:
    """Serve `engine` until SIGTERM or Ctrl-C, then free it.

    `watch` tells which model it serves; by default always the one it has loaded.
    """
    watch = watch or LoadedModelWatch(engine.card)
    gate = Gate(config.limit_model_concurrency or engine.slots, config.max_waiting, watch.load)
    worker = ModelWorker(engine, gate, MediaReader(media), worker_id=secrets.token_hex(8))
    tls = Tls.of_or_exit(config)
    lifecycle = WorkerLifecycle(worker, config, watch, tls.trust)
    if config.no_auth and not is_loopback(config.host):
        logger.warning(
            "--no-auth at --host %s: whoever reaches port %d can use the model%s.",
            config.host,
            config.port,
            " and read the metrics" if config.public_metrics else "",
        )
    tracer = open_tracer(config.otlp_endpoint, "worker")
    app = build_app(
        worker,
        max_body_bytes=config.max_body_bytes,
        max_text_bytes=config.max_text_bytes,
        access=lifecycle.access,
        background=lifecycle.running,
        tracer=tracer,
    )
    serving.run(app, config.host, config.port, lifecycle.leave, tls.certificate)


class WorkerLifecycle:
    """Keeps a worker registered while it serves, and frees its engine at the end."""

    def __init__(
        self,
        worker: ModelWorker,
        config: MembershipConfig,
        watch: ModelWatch,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._worker = worker
        self._watch = watch
        self._config = config
        self._trust = trust
        self._token = require_token(config)
        self._keys = None
        if asks_for_keys(config, config.host):
            self._keys = WorkerKeys(config, lambda: worker.engine.card.id)
        # The controller asks under the address that this worker gave it.
        reached_at = urlsplit(config.worker_address).hostname or ""
        self.access = Access(
            hosts=Hosts.of(config.host, config.allowed_names, own=[reached_at]),
            token=self._token or None,
            origins=Origins.of(config.origins),
            is_public=config.public_metrics,
            find_key=self._keys.find if self._keys else None,
        )
        self._members: list[Membership] = []  # one for each controller

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stay in the cluster while the app serves; free the engine after the last stream."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._worker.engine.close)
            if self._keys is not None:
                await stack.enter_async_context(self._keys.opened())
            await stack.enter_async_context(self._watch.watched())
            if not self._config.no_register:
                connector = aiohttp.TCPConnector(ssl=self._trust or True)
                session = await stack.enter_async_context(
                    aiohttp.ClientSession(connector=connector, trust_env=False)
                )
                registering = self._stay_registered(session)
                await stack.enter_async_context(background(registering, "membership"))
            watching = stop_when_unhealthy(self._worker.engine)
            await stack.enter_async_context(background(watching, "watch-health"))
            yield

    async def leave(self) -> None:
        """Take no new requests, and tell the controller; running requests are served."""
        self._worker.gate.close()
        await asyncio.gather(*(member.leave() for member in self._members))

    async def _stay_registered(self, session: aiohttp.ClientSession) -> None:
        """Register each model that is served, for as long as it is."""
        card: ModelCard | None = None
        while True:
            while card is None:
                card = await self._watch.change(None)
            async with AsyncExitStack() as joined:
                self._members = [
                    await joined.enter_async_context(membership(link))
                    for link in self._links(session, card)
                ]
                if not self._worker.gate.is_open:  # it came while this worker leaves
                    return
                card = await self._watch.change(card)

    def _links(self, session: aiohttp.ClientSession, card: ModelCard) -> list[RegistrationClient]:
        """Return one link to each controller, by which the worker says that it serves a model."""
        address, status = self._config.worker_address, partial(self._worker.status, card)
        vitals = partial(vitals_of, self._worker)
        return [
            RegistrationClient(session, controller, address, self._token, status, vitals)
            for controller in addresses_of(self._config.controller)
        ]


def _stop_this_process() -> None:
    signal.raise_signal(signal.SIGTERM)


async def stop_when_unhealthy(
    engine: Engine,
    stop: Callable[[], None] = _stop_this_process,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Stop the process once the engine is unhealthy: its supervisor restarts it."""
    while engine.healthy:
        await sleep(_HEALTH_CHECK_S)
    logger.error("the engine failed beyond repair: this worker stops and must be started again")
    stop()


def require_token(config: MembershipConfig) -> str:
    """Read the cluster token; a worker makes none in a file that somebody named for it.

    Raises:
        SystemExit: it cannot be read; the message says why. Never for a worker that serves alone
            and everybody.
    """
    if config.no_register and not asks_for_keys(config, config.host):
        return ""
    named = config.cluster_token_file
    if named is not None and not named.exists():
        raise SystemExit(
            f"--cluster-token-file {named}: there is no such file here. Copy the controller's, "
            "whose log says where it is."
        )
    return read_token(token_file(named, config.state_dir))
