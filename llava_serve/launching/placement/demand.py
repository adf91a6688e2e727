"""Controllers as scaling asks them: a model's demand, and draining of its workers."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
from pydantic_core import from_json
from yarl import URL

from llava_serve.args import addresses_of
from llava_serve.credential import Credential
from llava_serve.launching.placement.scaling import Demand

_LIMIT = aiohttp.ClientTimeout(total=5)


class DemandClient:
    """Asks all controllers of a cluster; one that does not answer counts for nothing."""

    def __init__(
        self, session: aiohttp.ClientSession, controllers: Sequence[str], credential: Credential
    ) -> None:
        self._session = session
        self._controllers = addresses_of(controllers)
        self._credential = credential

    async def demand(self, model: str) -> Demand | None:
        """Return what is asked of a model; None where nobody answers, or knows it."""
        listed = [await self._ask(one, "GET", "models") for one in self._controllers]
        rows = [row for rows in listed if rows for row in rows if row["model"] == model]
        alive = [row for row in rows if row["alive"]]
        if not alive:
            return None
        running = max(row["queue_length"] for row in alive)  # all know what all workers have
        slots = max(row["slots"] // row["alive"] for row in alive)
        return Demand(sum(row.get("waiting", 0) for row in rows), running, slots)

    async def is_drained(self, address: str) -> bool:
        """Drain a worker, again each time; tell whether it runs nothing that any of them knows."""
        where = f"workers/{quote(address, safe='')}"
        for one in self._controllers:
            await self._ask(one, "POST", f"{where}/drain")
        listed = [await self._ask(one, "GET", "workers") for one in self._controllers]
        states = {
            row["state"] for rows in listed for row in rows or () if row["address"] == address
        }
        return listed[0] is not None and states.isdisjoint(("alive", "draining"))

    async def is_served(self, address: str) -> bool:
        """Tell whether the first controller sends requests to a worker."""
        listed = await self._ask(self._controllers[0], "GET", "workers") or []
        return any(row["address"] == address and row["state"] == "alive" for row in listed)

    async def _ask(self, controller: str, method: str, path: str) -> Any:
        """Return an answer's JSON; None where there is none, or it is an error."""
        url = URL(f"{controller}/admin/{path}", encoded=True)
        try:
            async with self._session.request(
                method, url, headers=self._credential(), timeout=_LIMIT, allow_redirects=False
            ) as answer:
                content = await answer.read()
            return from_json(content) if content and answer.status < 300 else None
        except (TimeoutError, aiohttp.ClientError, ValueError):  # or something else answers
            return None
