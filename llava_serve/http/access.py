"""Access by host, origin and caller, so that no foreign web page can use a server.

A browser will send requests to any address for any page that it shows. What keeps foreign pages
out: names that are not this server's are refused (a page that makes its own name point here is
known by it), a body must be declared as JSON (which a foreign page may not send without being
allowed to by the server), and so must an `Origin` that a browser adds be of this host, or one that
an operator allowed. A key changes nothing about the last two: a page of any website may have been
given one, and which pages use a server is for its operator to say. An API key or the cluster's
token does speak for a program, which may use any name, and need not declare its body where it sends
no `Origin`. The Gradio page takes uploads, which are forms, so that it checks the `Origin` and not
the type.
"""

import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from llava_serve.api_key import ApiKey, shown_key
from llava_serve.errors import (
    AdminOnly,
    ContentTypeRefused,
    ForInsiders,
    HostRefused,
    KeyMissing,
    OriginRefused,
    ServeError,
)
from llava_serve.http import serving
from llava_serve.http.caller import Caller
from llava_serve.http.cross_origin import Origins, is_preflight
from llava_serve.http.error_response import error_response
from llava_serve.http.hosts import ip_of, is_loopback

# Nobody can own a name below these on the internet, nor one without a dot.
_PRIVATE = (".local", ".internal", ".home.arpa")
_FOR_INSIDERS = frozenset(
    ("/metrics", "/workers", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
)
_OPEN = frozenset(("/health",))
# Admission asks for the cluster's token, and knows the addresses of LLaVA's own workers.
_OF_WORKERS = frozenset(("/register_worker", "/receive_heart_beat", "/deregister_worker"))
_WITHOUT_KEY = _OPEN | _OF_WORKERS
_JSON = re.compile(r"application/(?:.*\+)?json")
# Where forms are taken. A foreign page may send one without being allowed to; but then a browser
# says whose page it is, which `_check_origin` refuses.
UPLOADS = "/v1/files"
_FORM = "multipart/form-data"
_OWN_SITES = ("none", "same-origin")  # what a browser calls the pages of this host, and no page
_READING = frozenset(("GET", "HEAD", "OPTIONS"))
_OF_WEBSITES = ("http://", "https://", "null")  # null: any page that wants to have no origin
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
        if is_on_network := not is_loopback(bound):
            names.add(socket.gethostname())
        return cls(frozenset(map(_plain, allowed)), frozenset(map(_plain, names)), is_on_network)

    def serves(self, host: str) -> bool:
        """Tell whether a `Host` header names this server; none at all does."""
        name = _plain(host)
        if not name or ip_of(name) or name == "localhost" or name.endswith(".localhost"):
            return True
        if self.is_on_network and ("." not in name or name.endswith(_PRIVATE)):
            return True
        return name in self.own or self.allows(name)

    def allows(self, host: str) -> bool:
        """Tell whether an operator has named the host."""
        name = _plain(host)
        below = any(name.endswith(suffix) for suffix in self.allowed if suffix.startswith("."))
        return below or name in self.allowed or "*" in self.allowed


FindKey = Callable[[str], Awaitable[ApiKey]]  # raises KeyRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may do what.

    `token` is the cluster's, None where there is no cluster. `find_key` tells which key a client
    shows; where it is None, no key is asked for. Pages of `origins` may ask, beside the server's.
    """

    hosts: Hosts = field(default_factory=Hosts)
    origins: Origins = field(default_factory=Origins)
    token: str | None = None
    is_public: bool = False  # strangers may read the metrics, the workers and the documentation
    find_key: FindKey | None = None

    def is_token(self, text: str | None) -> bool:
        """Tell whether `text` is the cluster's token, in time that tells nothing of it."""
        if self.token is None or text is None:
            return False
        return secrets.compare_digest(text.encode(), self.token.encode())


class HostGuard:
    """Middleware: refuses names that are not this server's, and changes by pages of other hosts."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._check(scope, Headers(scope=scope))
            except ServeError as exc:
                serving.log_error(exc)
                await error_response(exc)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope, headers: Headers) -> None:
        self._check_host(headers)
        if scope["method"] not in _READING:
            self._check_origin(headers)

    def _check_host(self, headers: Headers) -> None:
        for host in headers.getlist("host"):
            if not self._access.hosts.serves(host):
                raise HostRefused(_plain(host)[:100])

    def _check_origin(self, headers: Headers) -> None:
        for origin in headers.getlist("origin"):
            if not (self._is_own(origin, headers) or self._access.origins.allow(origin)):
                raise OriginRefused(origin[:100])

    def _is_own(self, origin: str, headers: Headers) -> bool:
        """Tell whether an origin is of this host, or of one that this server has other names by."""
        try:
            netloc = urlsplit(origin).netloc.lower()
        except ValueError:  # brackets that hold no address
            return False
        is_same = netloc == headers.get("host", "").lower()
        return bool(netloc) and (is_same or self._access.hosts.allows(netloc))


class ApiGuard(HostGuard):
    """Middleware of controllers and workers: also asks who calls, for `caller_of`.

    What a foreign page sends is refused, unless it shows the token.
    """

    async def _check(self, scope: Scope, headers: Headers) -> None:
        if "caller" in scope.setdefault("state", {}):  # this process itself asks for somebody
            return
        caller = await self._caller(scope, headers)
        scope["state"]["caller"] = caller
        if caller.is_insider:
            return
        if caller.key is None:
            self._check_host(headers)
        if scope["method"] not in _READING or is_preflight(scope, headers):
            self._check_page(scope, headers, caller)
        is_private = scope["path"] in _FOR_INSIDERS
        if is_private and (self._access.is_public or self._is_from_here(scope, headers)):
            return
        if caller.key is None and self._asks_for_key(scope):
            raise KeyMissing
        if is_private and not caller.is_admin:
            raise AdminOnly(scope["path"]) if caller.key else ForInsiders(scope["path"])

    def _check_page(self, scope: Scope, headers: Headers, caller: Caller) -> None:
        """Check what a page of any website could send without its user's knowing."""
        if caller.key is None or not _is_of_program(headers):
            self._check_origin(headers)
        if caller.key is None or "origin" in headers:
            _check_content_type(headers, takes_form=scope["path"] == UPLOADS)

    def _is_from_here(self, scope: Scope, headers: Headers) -> bool:
        """Tell whether this machine itself asks, and not a page that one of its browsers shows."""
        origins = headers.getlist("origin")
        is_foreign = not all(self._is_own(origin, headers) for origin in origins)
        return is_on_this_machine(scope, headers) and not is_foreign

    async def _caller(self, scope: Scope, headers: Headers) -> Caller:
        """Return who calls.

        Raises:
            KeyRefused: the request needs a key, and the one it shows is not good.
        """
        text = shown_key(headers.items())
        if self._access.is_token(text):
            return Caller.of(scope, headers, is_insider=True)
        if text is None or self._access.find_key is None or not self._asks_for_key(scope):
            return Caller.of(scope, headers)
        return Caller.of(scope, headers, await self._access.find_key(text))

    def _asks_for_key(self, scope: Scope) -> bool:
        return self._access.find_key is not None and scope["path"] not in _WITHOUT_KEY


def _is_of_program(headers: Headers) -> bool:
    """Tell whether the origin, if any, is that of an installed program, as `app://obsidian.md`."""
    return not any(origin.lower().startswith(_OF_WEBSITES) for origin in headers.getlist("origin"))


def _check_content_type(headers: Headers, *, takes_form: bool) -> None:
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return  # no body, as LLaVA's own programs ask
    types = [one.partition(";")[0].strip().lower() for one in headers.getlist("content-type")]
    is_known = "origin" in headers or headers.get("sec-fetch-site", "none") in _OWN_SITES
    if takes_form and types == [_FORM] and is_known:
        return
    if not types or not all(_JSON.fullmatch(one) for one in types):
        raise ContentTypeRefused(", ".join(types)[:100] or "none")


def is_on_this_machine(scope: Scope, headers: Headers) -> bool:
    """Tell whether a request comes from here, and no proxy says that it speaks for others."""
    caller = scope["client"][0] if scope.get("client") else ""
    return is_loopback(caller) and not any(name in headers for name in _FORWARDED)


def _plain(host: str) -> str:
    """Return a name without its port, brackets, last dot and capitals."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") == 1:
        host = host.partition(":")[0]
    return host.removesuffix(".")
