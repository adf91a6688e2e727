"""An engine becomes a process of the cluster: it joins, is watched, leaves and is freed."""

import asyncio
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import aiohttp

from llava_serve import logs
from llava_serve.cluster.heartbeat import HttpRegistrationClient, Membership, membership
from llava_serve.cluster_token import read_token, token_file
from llava_serve.config import MediaConfig, MembershipConfig
from llava_serve.engines.base import Engine
from llava_serve.http import serving
from llava_serve.http.access import Access, Hosts
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.openai import ModelCard
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.presence import InThisProcess, Presence
from llava_serve.worker.worker import Worker

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0


def serve(
    engine: Engine, config: MembershipConfig, media: MediaConfig, presence: Presence | None = None
) -> None:
    """Serve `engine` until SIGTERM or Ctrl-C, then free it.

    `presence` tells when its model is there; by default that is always so.
    """
    there = presence or InThisProcess(engine.card)
    gate = Gate(config.limit_model_concurrency or engine.slots, config.max_waiting, there.load)
    worker = Worker(engine, gate, MediaReader(media), worker_id=secrets.token_hex(8))
    place = Place(worker, config, there)
    if not serving.is_loopback(config.host):
        logger.warning(
            "--host %s: whoever reaches port %d can use the model%s; there are no accounts.",
            config.host,
            config.port,
            " and read the metrics" if config.public_metrics else "",
        )
    app = build_app(
        worker,
        max_body_bytes=config.max_body_bytes,
        max_text_bytes=config.max_text_bytes,
        access=place.access,
        background=place.held,
    )
    serving.run(app, config.host, config.port, before_stop=place.leave)


class Place:
    """A worker's place among the processes: in the cluster, and under the eye of a supervisor."""

    def __init__(self, worker: Worker, config: MembershipConfig, presence: Presence) -> None:
        self._worker = worker
        self._presence = presence
        self._config = config
        self._token = "" if config.no_register else _token(config)
        # The controller asks under the address that this worker gave it.
        reached_at = urlsplit(config.worker_address).hostname or ""
        self.access = Access(
            hosts=Hosts.of(config.host, config.allowed_names, own=[reached_at]),
            token=self._token or None,
            is_public=config.public_metrics,
        )
        self._member: Membership | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Stay in the cluster while the app serves; free the engine after the last stream."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._worker.engine.close)
            await stack.enter_async_context(self._presence.watched())
            if not self._config.no_register:
                session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
                await stack.enter_async_context(_running(self._stay(session), "membership"))
            await stack.enter_async_context(health_watched(self._worker.engine))
            yield

    async def leave(self) -> None:
        """Take no new requests, and tell the controller; those that run are served."""
        self._worker.gate.close()
        if self._member is not None:
            await self._member.leave()

    async def _stay(self, session: aiohttp.ClientSession) -> None:
        """Be a member while there is a model to ask, as a server of that model."""
        card = await self._presence.change(None)
        while True:
            if card is None:
                card = await self._presence.change(None)
                continue
            async with membership(self._link(session, card)) as self._member:
                if not self._worker.gate.is_open:  # it came while this worker leaves
                    return
                card = await self._presence.change(card)

    def _link(self, session: aiohttp.ClientSession, card: ModelCard) -> HttpRegistrationClient:
        return HttpRegistrationClient(
            session,
            self._config.controller,
            self._config.worker_address,
            self._token,
            partial(self._worker.status, card),
        )


@asynccontextmanager
async def _running(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(logs.log_a_bug)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _stop_this_process() -> None:
    signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def health_watched(
    engine: Engine,
    stop: Callable[[], None] = _stop_this_process,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """Stop the process once the engine needs a restart, which is its supervisor's to give."""
    async with _running(_watch_health(engine, stop, sleep), "watch-health"):
        yield


async def _watch_health(
    engine: Engine, stop: Callable[[], None], sleep: Callable[[float], Awaitable[None]]
) -> None:
    while engine.healthy:
        await sleep(_LOOK_EVERY_S)
    logger.error("the engine failed beyond repair: this worker stops and must be started again")
    stop()


def _token(config: MembershipConfig) -> str:
    """Read the cluster token; a worker makes none in a file that somebody named for it."""
    named = config.cluster_token_file
    if named is not None and not named.exists():
        raise SystemExit(
            f"--cluster-token-file {named}: there is no such file here. Copy the controller's, "
            "whose log says where it is."
        )
    return read_token(token_file(named, config.state_dir))
