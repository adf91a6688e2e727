"""Access by host, origin and caller, so that no foreign web page can use a server.

A browser will send requests to any address for any page that it shows. What keeps foreign pages
out: names that are not this server's are refused (a page that makes its own name point here is
known by it), a body must be declared as JSON (which a foreign page may not send without being
allowed to by the server, and this one allows nobody), and so must an `Origin` that a browser adds
be of this host. Programs send no `Origin`, and who shows the cluster's token is no browser. The
Gradio page takes uploads, which are forms, so that it checks the `Origin` and not the type.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from llava_serve import logs
from llava_serve.cluster_token import is_shown
from llava_serve.errors import (
    ContentTypeRefused,
    ForInsiders,
    HostRefused,
    OriginRefused,
    ServeError,
)
from llava_serve.http import serving

# Nobody can own a name below these on the internet, nor one without a dot.
_PRIVATE = (".local", ".internal", ".home.arpa")
_FOR_INSIDERS = frozenset(
    ("/metrics", "/workers", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
)
_READING = frozenset(("GET", "HEAD", "OPTIONS"))
# Who adds one of these speaks for somebody else, who need not be on this machine.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Hosts:
    """The host names of a server.

    IP addresses are always served: only a name can be made to point here by a stranger. `allowed`
    are names that an operator gave; `.example.com` stands for all below it and `*` for every one.
    On a network, names that no stranger can own are served too.
    """

    allowed: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    is_on_network: bool = False

    @classmethod
    def of(cls, bound: str, allowed: Iterable[str] = (), own: Iterable[str] = ()) -> "Hosts":
        """Return those of a server that listens at `bound`, and is known to others as `own`."""
        names = {bound, *own}
        if is_on_network := not serving.is_loopback(bound):
            names.add(socket.gethostname())
        return cls(frozenset(map(_plain, allowed)), frozenset(map(_plain, names)), is_on_network)

    def serves(self, host: str) -> bool:
        """Tell whether a `Host` header names this server; none at all does."""
        name = _plain(host)
        if not name or _is_address(name) or name == "localhost" or name.endswith(".localhost"):
            return True
        if self.is_on_network and ("." not in name or name.endswith(_PRIVATE)):
            return True
        return name in self.own or self.allows(name)

    def allows(self, host: str) -> bool:
        """Tell whether an operator has named the host."""
        name = _plain(host)
        below = any(name.endswith(suffix) for suffix in self.allowed if suffix.startswith("."))
        return below or name in self.allowed or "*" in self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may do what; `token` is the cluster's, None where there is no cluster."""

    hosts: Hosts = field(default_factory=Hosts)
    token: str | None = None
    is_public: bool = False  # strangers may read the metrics, the workers and the documentation

    def is_insider(self, authorization: str | None) -> bool:
        return self.token is not None and is_shown(self.token, authorization)


class HostGuard:
    """Middleware: refuses names that are not this server's, and changes by pages of other hosts."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope, Headers(scope=scope))
            except ServeError as exc:
                serving.log_error(exc)
                body = exc.as_body(logs.request_id.get())
                await JSONResponse(body, exc.status, headers=exc.headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        for host in headers.getlist("host"):
            if not self._access.hosts.serves(host):
                raise HostRefused(_plain(host)[:100])
        if scope["method"] not in _READING:
            self._check_origin(headers)

    def _check_origin(self, headers: Headers) -> None:
        for origin in headers.getlist("origin"):
            try:
                netloc = urlsplit(origin).netloc.lower()
            except ValueError:  # brackets that hold no address
                netloc = ""
            is_same = bool(netloc) and netloc == headers.get("host", "").lower()
            if not (is_same or (netloc and self._access.hosts.allows(netloc))):
                raise OriginRefused(origin[:100])


class ApiGuard(HostGuard):
    """Middleware of controllers and workers: also refuses what only a foreign page would send."""

    def _check(self, scope: Scope, headers: Headers) -> None:
        if self._access.is_insider(headers.get("authorization")):
            return
        super()._check(scope, headers)
        if scope["method"] not in _READING:
            _check_content_type(headers)
        is_private = scope["path"] in _FOR_INSIDERS and not self._access.is_public
        if is_private and not _is_on_this_machine(scope, headers):
            raise ForInsiders(scope["path"])


def _check_content_type(headers: Headers) -> None:
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return  # no body, as LLaVA's own programs ask
    types = [one.partition(";")[0].strip().lower() for one in headers.getlist("content-type")]
    if not types or not all(_is_json(one) for one in types):
        raise ContentTypeRefused(", ".join(types)[:100] or "none")


def _is_json(mime: str) -> bool:
    return mime == "application/json" or (
        mime.startswith("application/") and mime.endswith("+json")
    )


def _is_on_this_machine(scope: Scope, headers: Headers) -> bool:
    caller = scope["client"][0] if scope.get("client") else ""
    # On a socket for both versions an IPv4 address arrives as `::ffff:1.2.3.4`.
    is_loopback = serving.is_loopback(caller.removeprefix("::ffff:"))
    return is_loopback and not any(name in headers for name in _FORWARDED)


def _plain(host: str) -> str:
    """Return a name without its port, brackets, last dot and capitals."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") == 1:
        host = host.partition(":")[0]
    return host.removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
