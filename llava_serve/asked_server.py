"""Server that a command asks: any one of OpenAI's chat completions, and which models it has."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from pydantic_core import from_json

from llava_serve.client import ChatClient
from llava_serve.cluster_token import bearer
from llava_serve.errors import CommandError
from llava_serve.http.client_error import controller_error, remote_error
from llava_serve.http.tls import trust
from llava_serve.secret_file import read_secret
from llava_serve.server_config import ServerConfig
from llava_serve.tls_config import TrustConfig

_LIST_S = aiohttp.ClientTimeout(total=10)


class AskedServer:
    """One server of OpenAI's chat completions."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address = address.rstrip("/").removesuffix("/v1")
        self._session = session
        self.client = ChatClient(self.address, session)

    async def model(self, wanted: str | None) -> str:
        """Return the model to ask: the wanted one, or else the only one.

        Raises:
            CommandError: it is not served, or there are several to choose from.
            ServeError: the server cannot be asked.
        """
        served = [str(one["id"]) for one in await self._listed()]
        if wanted in served:
            return str(wanted)
        names = ", ".join(served) or "none"
        if wanted is not None:
            what = f"{wanted!r} is not served at {self.address}; served: {names}"
            raise CommandError(what, "Name one of them with --model.")
        if len(served) != 1:
            what = f"which model is meant is not clear; {self.address} serves: {names}"
            raise CommandError(what, "Name one of them with --model.")
        return served[0]

    async def slots(self, model: str) -> int | None:
        """Return how many answers the model makes at once; None where the server does not tell.

        Raises:
            ServeError: the server cannot be asked.
        """
        told = [one.get("slots") for one in await self._listed() if one["id"] == model]
        return next((slots for slots in told if isinstance(slots, int) and slots > 0), None)

    async def _listed(self) -> list[dict[str, Any]]:
        try:
            async with self._session.get(f"{self.address}/v1/models", timeout=_LIST_S) as answer:
                content = await answer.read()
                if answer.status != 200:
                    raise remote_error(content, answer.status)
            listed = from_json(content)["data"]
            return [{**one, "id": one["id"]} for one in listed]
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise controller_error(self.address, exc) from exc
        except (ValueError, LookupError, TypeError) as exc:
            what = f"{self.address} lists no models as OpenAI's servers do"
            raise CommandError(what, "Correct --controller.") from exc


@asynccontextmanager
async def open_server(config: ServerConfig) -> AsyncIterator[AskedServer]:
    """Yield the server of the settings.

    Raises:
        CommandError: the file of its key, or of the authorities to trust, cannot be used.
    """
    async with open_session(config, headers_of(config.api_key_file)) as session:
        yield AskedServer(config.controller, session)


@asynccontextmanager
async def open_session(
    config: TrustConfig, headers: Mapping[str, str]
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session that sends these headers, with as many connections as are asked for.

    Raises:
        CommandError: the file of the authorities to trust cannot be used.
    """
    connector = aiohttp.TCPConnector(ssl=trust(config.ca_file), limit=0)
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, trust_env=False
    ) as session:
        yield session


def headers_of(key_file: Path | None) -> Mapping[str, str]:
    """Return the headers that show the key of a file, where there is one.

    Raises:
        CommandError: the file cannot be used.
    """
    return {} if key_file is None else bearer(read_secret(key_file))
