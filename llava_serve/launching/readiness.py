"""What a process still lacks before it counts as ready, asked over HTTP."""

import aiohttp

from llava_serve.client import ChatClient
from llava_serve.errors import ServeError
from llava_serve.launching.plan import Process

_ASK = aiohttp.ClientTimeout(total=5)


class Readiness:
    """Asks the processes of one launch."""

    def __init__(self, session: aiohttp.ClientSession, controller: str) -> None:
        self._session = session
        self._controller = ChatClient(controller, session)

    async def missing(self, process: Process) -> str | None:
        """Return what `process` lacks, or None when it is ready."""
        # What it waits for is asked first: its own refusals would fill the log in the meantime.
        for address in filter(None, (process.behind, process.address)):
            if (ill := await self._illness(f"{address}/health")) is not None:
                return ill
        if process.model is None:
            return None
        try:
            listed = [card.id for card in await self._controller.models()]
        except ServeError as exc:
            return exc.message
        return None if process.model in listed else "the controller does not list its model yet"

    async def _illness(self, health: str) -> str | None:
        try:
            async with self._session.get(health, timeout=_ASK) as answer:
                return None if answer.status == 200 else f"{health} answers {answer.status}"
        except (TimeoutError, aiohttp.ClientError):
            return f"nothing answers at {health} yet"
