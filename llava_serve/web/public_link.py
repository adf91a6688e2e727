"""A public address for the page, through Gradio's tunnel servers."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from gradio import networking
from gradio.exceptions import ChecksumMismatchError
from gradio.tunneling import CURRENT_TUNNELS

logger = logging.getLogger(__name__)


DOMAIN = ".gradio.live"


class PublicLink:
    """Opens the tunnel to `host:port`; a page that cannot be shared still serves locally."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep the tunnel open for as long as the block runs."""
        # The tunnel's program is fetched and started on a thread; the page serves meanwhile.
        opening = asyncio.create_task(self.announce(), name="sharing")
        try:
            yield
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            for tunnel in CURRENT_TUNNELS:
                await asyncio.to_thread(tunnel.kill)

    async def announce(self) -> None:
        """Open the tunnel; log its address, or why there is none."""
        token = secrets.token_urlsafe(32)
        try:
            url = await asyncio.to_thread(
                networking.setup_tunnel, self._host, self._port, token, None, None
            )
        except (
            OSError,
            RuntimeError,
            ValueError,
            httpx.HTTPError,
            ChecksumMismatchError,
        ) as exc:
            reason = str(exc) or type(exc).__name__
            logger.error("no public link: %s. The page is served at this machine only.", reason)
            return
        logger.warning("anybody who knows this address can use the page: %s", url)
