"""An engine becomes a process of the cluster: it joins, is watched, leaves and is freed."""

import asyncio
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from llava_serve import serving
from llava_serve.cluster.heartbeat import HttpLink, Membership, membership
from llava_serve.cluster.token import read_token, token_file
from llava_serve.config import MediaConfig, MembershipConfig
from llava_serve.engines.base import Engine
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import Worker

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0


def serve(engine: Engine, config: MembershipConfig, media: MediaConfig) -> None:
    """Serve `engine` until SIGTERM or Ctrl-C, then free it."""
    gate = Gate(config.limit_model_concurrency or engine.slots, config.max_waiting)
    worker = Worker(engine, gate, MediaReader(media), worker_id=secrets.token_hex(8))
    place = Place(worker, config)
    if not serving.is_loopback(config.host):
        logger.warning(
            "--host %s: whoever reaches port %d can use the model and read the metrics; "
            "there are no accounts.",
            config.host,
            config.port,
        )
    app = build_app(worker, max_body_bytes=config.max_body_bytes, background=place.held)
    serving.run(app, config.host, config.port, before_stop=place.leave)


class Place:
    """A worker's place among the processes: in the cluster, and under the eye of a supervisor."""

    def __init__(self, worker: Worker, config: MembershipConfig) -> None:
        self._worker = worker
        self._config = config
        self._token = (
            ""
            if config.no_register
            else read_token(token_file(config.cluster_token_file, config.state_dir))
        )
        self._member: Membership | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Stay in the cluster while the app serves; free the engine after the last stream."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._worker.engine.close)
            if not self._config.no_register:
                session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
                self._member = await stack.enter_async_context(membership(self._link(session)))
            await stack.enter_async_context(health_watched(self._worker.engine))
            yield

    async def leave(self) -> None:
        """Take no new requests, and tell the controller; those that run are served."""
        self._worker.gate.close()
        if self._member is not None:
            await self._member.leave()

    def _link(self, session: aiohttp.ClientSession) -> HttpLink:
        return HttpLink(
            session,
            self._config.controller,
            self._config.worker_address,
            self._token,
            self._worker.status,
        )


def _stop_this_process() -> None:
    signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def health_watched(
    engine: Engine,
    stop: Callable[[], None] = _stop_this_process,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """Stop the process once the engine needs a restart, which is its supervisor's to give."""
    watching = asyncio.create_task(_watch_health(engine, stop, sleep), name="watch-health")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _watch_health(
    engine: Engine, stop: Callable[[], None], sleep: Callable[[float], Awaitable[None]]
) -> None:
    while engine.healthy:
        await sleep(_LOOK_EVERY_S)
    logger.error("the engine failed beyond repair: this worker stops and must be started again")
    stop()
