"""Checks of a controller and its workers, as they are seen from this machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp
from pydantic_core import from_json

from llava_serve import __version__
from llava_serve.doctor.finding import Finding
from llava_serve.errors import RemoteError
from llava_serve.http.client_error import controller_error, reason_of

_LIMIT = aiohttp.ClientTimeout(total=10)
_SKEW_S = 5.0  # of which one second is the header's own
_MUCH_SKEW_S = 60.0


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer; `content` is its JSON, None where it is none."""

    status: int
    headers: Mapping[str, str]
    content: Any


async def ask(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], body: Any = None
) -> HttpAnswer:
    """Ask for `url`, with a `body` by POST; raises what aiohttp raises."""
    method = "GET" if body is None else "POST"
    async with session.request(
        method, url, json=body, headers=headers, timeout=_LIMIT, allow_redirects=False
    ) as answer:
        try:
            content = await answer.json(content_type=None, loads=from_json)
        except ValueError:
            content = None
        return HttpAnswer(answer.status, answer.headers, content)


def unreachable(address: str, error: aiohttp.ClientError | TimeoutError) -> Finding:
    """Say why nobody answers at a controller's address."""
    if isinstance(error, aiohttp.ClientSSLError):
        untrusted = controller_error(address, error)
        return Finding("controller", "problem", untrusted.message, untrusted.remedy)
    reason = "no answer within 10 s" if isinstance(error, TimeoutError) else reason_of(error)
    return Finding(
        "controller",
        "problem",
        f"nobody answers at {address}: {reason}",
        "Start the controller, with --host 0.0.0.0 where other machines need it, or correct the "
        "address; between machines look at firewalls.",
    )


def check_identity(address: str, health: HttpAnswer) -> Finding:
    """Say what answers /health at a controller's address."""
    content = health.content
    if isinstance(content, dict) and isinstance(count := content.get("workers"), int):
        workers = "1 live worker" if count == 1 else f"{count} live workers"
        return Finding("controller", "ok", f"{address} is a controller with {workers}")
    if isinstance(content, dict) and isinstance(content.get("error"), dict):
        error = RemoteError.from_body(content, health.status)
        return Finding("controller", "problem", f"{address} refuses: {error.message}", error.remedy)
    what = "something else"
    if isinstance(content, dict) and content.get("status") == "ok":
        what = "the page" if "models" in content else "a worker"
    return Finding(
        "controller",
        "problem",
        f"{what} answers at {address} (HTTP {health.status}), and no controller",
        "Give the controller's address: its log begins with it.",
    )


def check_clock(health: HttpAnswer, now: float) -> Finding:
    """Compare this machine's clock, in seconds since 1970, with the controller's."""
    try:
        theirs = parsedate_to_datetime(health.headers.get("Date", "")).timestamp()
    except ValueError:
        return Finding("clock", "ok", "the controller tells no time")
    if (skew_s := abs(now - theirs)) <= _SKEW_S:
        return Finding("clock", "ok", "as the controller's")
    return Finding(
        "clock",
        "problem" if skew_s > _MUCH_SKEW_S else "warning",
        f"{skew_s:,.0f} s apart from the controller's: keys and certificates end at other times",
        "Set both clocks by NTP.",
    )


def check_version(described: HttpAnswer) -> Finding:
    """Compare this package's version with that in the controller's /openapi.json."""
    if described.status != HTTPStatus.OK or not isinstance(described.content, dict):
        return Finding(
            "version",
            "warning",
            f"the controller does not show its version (HTTP {described.status})",
            "Give its token with --cluster-token-file.",
        )
    info = described.content.get("info")
    theirs = info.get("version") if isinstance(info, dict) else None
    if theirs == __version__:
        return Finding("version", "ok", f"the controller's is {theirs}, as ours")
    return Finding(
        "version",
        "warning",
        f"the controller's version is {theirs}, and ours {__version__}",
        "Install the same version on every machine.",
    )


def check_workers(listed: HttpAnswer) -> Iterator[Finding]:
    """Look for workers that the controller cannot reach, in its /workers."""
    if listed.status != HTTPStatus.OK or not isinstance(listed.content, list):
        yield Finding(
            "workers",
            "warning",
            f"the controller does not show its workers (HTTP {listed.status})",
            "Give its token with --cluster-token-file.",
        )
        return
    if not listed.content:
        yield Finding(
            "workers",
            "warning",
            "none has joined",
            "Start one: python -m llava_serve.model_worker --controller ADDRESS.",
        )
    for worker in listed.content:
        models = ", ".join(worker["models"])
        named = f"{worker['address']} ({models})"
        if worker["state"] not in ("unreachable", "silent"):
            yield Finding("worker", "ok", f"{named} is {worker['state']}")
        elif worker["state"] == "unreachable":
            yield Finding(
                "worker",
                "problem",
                f"{named} sends heartbeats, and the controller cannot reach it",
                "Start it with --worker and an address that the controller can reach; look at "
                "firewalls.",
            )
        else:
            yield Finding(
                "worker",
                "problem",
                f"{named} has been silent for {worker['last_seen_s']:g} s",
                "Look whether it runs, and into its log.",
            )
