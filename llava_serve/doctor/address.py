"""Checks of the address that a worker is to be reached at, here and as the controller sees it."""

import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import psutil
from aiohttp import web

from llava_serve.doctor.cluster import HttpAnswer
from llava_serve.doctor.finding import Finding
from llava_serve.http import serving
from llava_serve.http.hosts import is_loopback
from llava_serve.protocol.cluster import WorkerStatus


def own_addresses() -> set[str]:
    """Return the IP addresses of this machine."""
    return {one.address for each in psutil.net_if_addrs().values() for one in each}


def check_worker_address(worker: str, controller: str, own: Sequence[str] | set[str]) -> Finding:
    """Say whether a controller at `controller` can mean this machine by the address `worker`.

    `own` are the IP addresses of this machine.
    """
    parts = urlsplit(worker)
    host = parts.hostname or ""
    ips = _ips_of(host)
    if not ips:
        return Finding(
            "address", "problem", f"{host!r} in --worker is no known name", "Correct it."
        )
    is_here = any(is_loopback(ip) or ip in own for ip in _ips_of(host_of(controller)))
    if any(map(is_loopback, ips)) and not is_here:
        return Finding(
            "address",
            "problem",
            f"{worker} means the controller's own machine when the controller asks it",
            "Give --worker the address at which the other machine reaches this one.",
        )
    if not any(is_loopback(ip) or ip in own for ip in ips):
        return Finding(
            "address",
            "warning",
            f"{host} is {', '.join(sorted(ips))}, which is none of this machine's addresses",
            "That is right behind a port forwarding; else correct --worker.",
        )
    return Finding("address", "ok", f"{worker} is this machine")


def host_of(address: str) -> str:
    """Return the host of an address."""
    return urlsplit(address).hostname or ""


def port_of(address: str) -> int:
    """Return the port of an address, by default its scheme's."""
    parts = urlsplit(address)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _ips_of(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


@asynccontextmanager
async def stand_in(host: str, port: int) -> AsyncIterator[str | None]:
    """Answer as a worker does while the body runs; yields its id.

    Where the port cannot be listened on, a worker may do so already: yields None.
    """
    try:
        listening = serving.bind(host, port)
    except OSError:
        yield None
        return
    status = WorkerStatus(model_names=["doctor"], worker_id=secrets.token_hex(8))

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(text=status.model_dump_json())

    app = web.Application()
    app.router.add_post("/worker_get_status", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield status.worker_id
    finally:
        await runner.cleanup()


def check_probe(worker: str, probe: HttpAnswer, own_id: str | None) -> Finding:
    """Read what the controller's /admin/probe says of `worker`, at which `own_id` answers."""
    seen: Any = probe.content
    if probe.status != HTTPStatus.OK or not isinstance(seen, dict):
        return Finding(
            "address",
            "warning",
            f"the controller does not say whether it reaches {worker} (HTTP {probe.status})",
            "Give its token with --cluster-token-file.",
        )
    if not seen.get("reachable"):
        return Finding(
            "address",
            "problem",
            f"the controller does not reach {worker}: {seen.get('reason')}",
            "Listen on an address that it reaches (--host 0.0.0.0), open the port in firewalls, "
            "or correct --worker.",
        )
    if own_id is None:
        models = ", ".join(seen.get("models", []))
        return Finding("address", "ok", f"the controller reaches a worker of {models} at {worker}")
    if seen.get("worker_id") != own_id:
        return Finding(
            "address",
            "problem",
            f"for the controller {worker} is another machine, with a worker of its own",
            "Give --worker the address at which the controller reaches this machine.",
        )
    return Finding("address", "ok", f"the controller reaches this machine at {worker}")
