"""Files behind `data:` URIs and web addresses: public hosts only, bounded in size and time."""

import asyncio
import base64
import binascii
import ipaddress
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import unquote_to_bytes

import aiohttp
import anyio
from yarl import URL

from llava_serve.errors import MediaTooLarge, MediaUnreadable, RemoteMediaRefused
from llava_serve.media.limits import check_bytes

IsAllowed = Callable[[str], bool]  # an IP address in text

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # the last 32 bits are an IPv4 address
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # where they stand is the operator's choice
# What `ipaddress` takes for global, in this version of Python or in all.
# Source: iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry;
# learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16.
_NOT_GLOBAL = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # of protocols; Oracle's cloud has metadata at .192
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4, which are no more
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's wire server
    ipaddress.IPv6Network("100:0:0:1::/64"),  # dummy addresses
    ipaddress.IPv6Network("3fff::/20"),  # documentation
    ipaddress.IPv6Network("5f00::/16"),  # segment routing
)


def is_public(address: str) -> bool:
    """Whether the address, and every IPv4 address packed into it, belongs to the public internet.

    Source: IANA special-purpose address registries (as `ipaddress` has them); RFC 6052, RFC 8215.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # an address with a zone, for one: never public
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return _is_global(ip)
    if ip.ipv4_mapped is not None:
        return _is_global(ip.ipv4_mapped)
    if ip in _NAT64:
        return _is_global(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    packed = [ip.sixtofour, *(ip.teredo or ())]
    return (
        _is_global(ip)
        and not ip.is_site_local
        and ip not in _LOCAL_NAT64
        and all(_is_global(inner) for inner in packed if inner is not None)
    )


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if any(ip in network for network in _NOT_GLOBAL):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


_WHITESPACE = b" \t\r\n\f\v"  # base64 from a shell comes wrapped in lines
_BEFORE = "\ufeff \t\r\n\f\v"  # what copying and text files leave in front
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def trimmed(url: str) -> str:
    """Take off the white space around an address, and the mark that text files begin with."""
    return url.strip(_BEFORE)


def is_data_uri(url: str) -> bool:
    return url[:5].lower() == "data:"


def read_data_uri(uri: str, limit_bytes: int) -> bytes:
    """Decode `data:[type][;base64],content`; the declared type is not trusted, nor needed.

    `base64` may stand anywhere among the parameters. Base64 may be of the alphabet for URLs, come
    in lines, percent-encoded, or without its padding.

    Raises:
        MediaUnreadable: no comma, or no valid base64.
        MediaTooLarge: more than `limit_bytes`.
    """
    head, comma, content = uri.partition(",")
    if not comma:
        raise MediaUnreadable("the data: URI has no comma, so it has no content")
    data = unquote_to_bytes(content)
    if "base64" in (word.strip().lower() for word in head.split(";")[1:]):
        data = _from_base64(data, limit_bytes)
    check_bytes(len(data), limit_bytes)
    return data


def _from_base64(text: bytes, limit_bytes: int) -> bytes:
    text = text.translate(_URL_SAFE, _WHITESPACE).rstrip(b"=")
    check_bytes(len(text) * 3 // 4 - 2, limit_bytes)
    if len(text) % 4 == 1:
        raise MediaUnreadable(
            f"its content is not valid base64: {len(text)} characters are no whole number of "
            "bytes, so one or more are missing"
        )
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as exc:
        raise MediaUnreadable(f"its content is not valid base64 ({exc})") from exc


LIMIT_BYTES = 10 * 1024 * 1024
LIMIT_S = 10.0  # for everything: names, connections, redirects, content
MAX_REDIRECTS = 3
_LOOKUPS = 4  # names looked up at once; more wait, and what waits in vain asks nobody
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Fetcher:
    """Fetches http(s) addresses; an `async with` keeps its connections.

    Names are looked up in threads of its own: of one whose server is silent nothing else may
    depend that the process looks up or does in threads.
    """

    def __init__(
        self,
        limit_bytes: int = LIMIT_BYTES,
        is_allowed: IsAllowed = is_public,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._limit_bytes = min(limit_bytes, LIMIT_BYTES)
        self._limit_s = limit_s
        self._is_allowed = is_allowed

    async def __aenter__(self) -> "Fetcher":
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="media-names")
        self._session = aiohttp.ClientSession(
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # the limit counts what is kept
            timeout=aiohttp.ClientTimeout(total=self._limit_s),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self._lookups.shutdown(wait=False, cancel_futures=True)
        await self._session.close()

    async def fetch(self, url: str) -> bytes:
        """Raises:
        RemoteMediaRefused: not http(s), not a public host, too many redirects, or no answer.
        MediaTooLarge: more bytes than the limit.
        """
        try:
            with anyio.fail_after(self._limit_s):
                return await self._follow(_parsed(url))
        except TimeoutError as exc:
            raise RemoteMediaRefused(
                f"the address gave no file within {self._limit_s:g} s"
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            reason = str(exc) or type(exc).__name__
            raise RemoteMediaRefused(f"the address cannot be fetched ({reason})") from exc

    async def _follow(self, url: URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            host, port = _host_and_port(url)
            checked = await self._resolve(host, port)
            # The connection goes to the address that was checked: no second look-up can be fooled.
            async with self._session.get(
                url.with_host(checked),
                headers={"Host": url.host_port_subcomponent or host, "Accept-Encoding": "identity"},
                server_hostname=host if url.scheme == "https" else None,
                allow_redirects=False,
            ) as answer:
                if answer.status in _REDIRECTS and "Location" in answer.headers:
                    url = url.join(_parsed(answer.headers["Location"], relative=True))
                    continue
                if answer.status != 200:
                    raise RemoteMediaRefused(f"the address answers with status {answer.status}")
                return await self._read(answer)
        raise RemoteMediaRefused(f"the address redirects more than {MAX_REDIRECTS} times")

    async def _resolve(self, host: str, port: int) -> str:
        """Return one address of the host, after all of them were checked."""
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:  # also turns decimal, octal and hexadecimal spellings into the address they mean
            found = await asyncio.get_running_loop().run_in_executor(self._lookups, look_up)
        except (OSError, UnicodeError) as exc:
            raise RemoteMediaRefused(_not_public(host)) from exc
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise RemoteMediaRefused(_not_public(host))
        return addresses[0]

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in answer.content.iter_any():
            content += chunk
            if len(content) > self._limit_bytes:
                raise MediaTooLarge(
                    f"the address gives more than the {self._limit_bytes / 1e6:.1f} MB that are "
                    "fetched from the web"
                )
        return bytes(content)


def _not_public(host: str) -> str:
    """Say the same of a host that is private and of one that is none: nobody learns which it is."""
    return f"the host {host!r} has no address on the public internet"


def _parsed(url: str, relative: bool = False) -> URL:
    try:
        parsed = URL(url)
        _ = parsed.port  # checked late by some versions
    except ValueError as exc:
        raise RemoteMediaRefused("the address is not a valid URL") from exc
    if not relative and not parsed.absolute:
        raise RemoteMediaRefused("the address is not a complete http:// or https:// URL")
    return parsed


def _host_and_port(url: URL) -> tuple[str, int]:
    """Raises: RemoteMediaRefused, for a scheme, name or password that is not fetched with."""
    if url.scheme not in ("http", "https"):
        raise RemoteMediaRefused(f"only http and https are fetched, not {url.scheme or 'nothing'}:")
    if url.user is not None or url.password is not None:
        raise RemoteMediaRefused("an address with a user name or password is not fetched")
    if not url.host or not url.port:
        raise RemoteMediaRefused("the address names no host")
    return url.host, url.port
