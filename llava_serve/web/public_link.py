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

from llava_serve.background import background

logger = logging.getLogger(__name__)

DOMAIN = ".gradio.live"
_FAILURES = (OSError, RuntimeError, ValueError, httpx.HTTPError, ChecksumMismatchError)


@asynccontextmanager
async def opened(host: str, port: int) -> AsyncIterator[None]:
    """Keep a tunnel to `host:port` open for as long as the block runs.

    The tunnel's program is fetched and started on a thread; the page serves meanwhile, and a page
    that cannot be shared still serves locally.
    """
    try:
        async with background(announce(host, port), "sharing"):
            yield
    finally:
        for tunnel in CURRENT_TUNNELS:
            await asyncio.to_thread(tunnel.kill)


async def announce(host: str, port: int) -> None:
    """Open the tunnel; log its address, or why there is none."""
    token = secrets.token_urlsafe(32)
    try:
        url = await asyncio.to_thread(networking.setup_tunnel, host, port, token, None, None)
    except _FAILURES as exc:
        reason = str(exc) or type(exc).__name__
        logger.error("no public link: %s. The page is served at this machine only.", reason)
    else:
        logger.warning("anybody who knows this address can use the page: %s", url)
