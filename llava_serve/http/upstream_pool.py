"""Pool of connections to workers: made with a time limit, kept for the next request for a while."""

import asyncio
import re
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property, lru_cache, partial

from aiohappyeyeballs import start_connection
from yarl import URL

from llava_serve.http.client_error import reason_of_refusal
from llava_serve.http.host_lookup import HostLookup
from llava_serve.http.upstream_connection import Answer, UpstreamConnection

# Shorter than the 5 s after which uvicorn closes an idle connection: none is used while it dies.
KEEP_ALIVE_S = 2.0
# Before another address of a host is tried beside the first. Source: RFC 8305, section 5.
_NEXT_ADDRESS_S = 0.25
_BREAK = re.compile("[\r\n\0]")


class ConnectionRefused(Exception):
    """No connection was made; the text says why."""


class UpstreamPool:
    """Connections by address. Usable inside `opened`."""

    def __init__(self, trust: ssl.SSLContext | None, connect_s: float) -> None:
        self._given_trust = trust
        self._connect_s = connect_s
        self._idle: defaultdict[str, list[UpstreamConnection]] = defaultdict(list)
        self._hosts = HostLookup()
        self._sweep: asyncio.TimerHandle | None = None

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return self._given_trust or ssl.create_default_context()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            if self._sweep is not None:
                self._sweep.cancel()
            for connection in self._taken_out(before=float("inf")):
                connection.abort()
            await self._hosts.close()
            await asyncio.sleep(0)  # for the sockets to be closed

    async def post(
        self, address: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        """Send a request and return its answer when its head has arrived.

        Raises:
            ConnectionRefused: the request was not sent.
            AnswerFailed: it was, and no answer comes.
            ValueError: a header would split the request.
        """
        try:
            beginning = _beginning(address, path)
        except ValueError as exc:
            raise ConnectionRefused(f"its address is none ({exc})") from exc
        head = f"{beginning}{len(body)}\r\n{_lines_of(headers)}\r\n".encode()
        connection = self._take(address) or await self._connect(address)
        return await connection.request(head, body)

    def _take(self, address: str) -> UpstreamConnection | None:
        """Return the connection that was used last."""
        if (idle := self._idle.get(address)) is None:
            return None
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.is_usable and now - connection.idle_since < KEEP_ALIVE_S:
                return connection
            connection.abort()
        return None

    def _keep(self, address: str, connection: UpstreamConnection) -> None:
        self._idle[address].append(connection)
        if self._sweep is None:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(KEEP_ALIVE_S, self._close_old)

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in self._taken_out(before=loop.time() - KEEP_ALIVE_S):
            connection.abort()
        self._sweep = loop.call_later(KEEP_ALIVE_S, self._close_old) if self._idle else None

    def _taken_out(self, before: float) -> list[UpstreamConnection]:
        """Take out the connections that are idle since then, and those that have ended."""
        old: list[UpstreamConnection] = []
        for address, idle in list(self._idle.items()):
            kept: list[UpstreamConnection] = []
            for one in idle:
                (kept if one.is_usable and one.idle_since > before else old).append(one)
            if kept:
                self._idle[address] = kept
            else:
                del self._idle[address]
        return old

    async def _connect(self, address: str) -> UpstreamConnection:
        url = URL(address)
        host, is_secure = url.raw_host or "", url.scheme == "https"
        try:
            async with asyncio.timeout(self._connect_s):
                found = await self._hosts.find(host, url.port or 80)
                sock = await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_S)
                _, connection = await asyncio.get_running_loop().create_connection(
                    partial(UpstreamConnection, partial(self._keep, address)),
                    sock=sock,
                    ssl=self._trust if is_secure else None,
                    server_hostname=host.rstrip(".") if is_secure else None,
                )
                return connection
        except OSError as exc:
            raise ConnectionRefused(reason_of_refusal(exc, host)) from exc
        except UnicodeError as exc:
            raise ConnectionRefused("its host is no name") from exc


def _lines_of(headers: Mapping[str, str]) -> str:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if any(map(_BREAK.search, lines)):
        raise ValueError("a header of a request holds the end of a line")
    return "".join([f"{line}\r\n" for line in lines])


@lru_cache(maxsize=4_096)
def _beginning(address: str, path: str) -> str:
    url = URL(address + path)
    return (
        f"POST {url.raw_path_qs} HTTP/1.1\r\n"
        f"Host: {url.host_port_subcomponent}\r\n"
        "Accept: */*\r\n"
        "User-Agent: llava_serve\r\n"
        "Content-Length: "
    )
