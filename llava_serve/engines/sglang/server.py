"""One SGLang server, or a router of several, as it comes and goes: known by what it says."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from llava_serve.background import background
from llava_serve.engines.base import Load
from llava_serve.engines.sglang.client import SglangClient, SglangSilent
from llava_serve.engines.sglang.served import Answers, Served, doubts_of, served_of
from llava_serve.errors import ServeError, SglangBusy, SglangFailed, SglangUnreachable
from llava_serve.protocol.model_card import ModelCard
from llava_serve.request import IMAGE_PLACEHOLDER
from llava_serve.retry import RateLimitedWarning

logger = logging.getLogger(__name__)

_CALL_S = 5.0
_HEALTH_S = 25.0  # the server itself gives up after 20 s
# A server that is busy with a long prompt or a large image may be silent for a while; one that
# died refuses the connection, which counts at once.
_PATIENCE_S = 20.0
_IMAGE_TOKEN_ALONE = {"prompt": IMAGE_PLACEHOLDER, "add_special_tokens": False}
_ONE_MESSAGE = {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}
_TOOL = {"name": "probe", "parameters": {"type": "object", "properties": {}}}
_WITH_TOOL = _ONE_MESSAGE | {"tools": [{"type": "function", "function": _TOOL}]}
_REMEDY = "this worker waits for it and joins the cluster when it is ready"


class Server:
    """Watches the server behind `client`; the model is served as `name`, by default its own.

    Without `uses_template` another renders the prompts, and shows no tools.

    A `ModelWatch`: see `worker.lifecycle`.
    """

    def __init__(
        self,
        client: SglangClient,
        name: str | None = None,
        *,
        uses_template: bool = True,
        look_every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._name = name
        self._uses_template = uses_template
        self._look_every_s = look_every_s
        self._clock = clock
        self._served: Served | None = None
        self._card: ModelCard | None = None
        self._identity: Any = None  # whom was asked, and what it was when the rest was read
        self._is_router = False
        self._load: Load | None = None
        self._missing = "it was not asked yet"  # why nothing is served
        self._answered = clock()
        self._warning = RateLimitedWarning(logger, clock)
        self._changed = asyncio.Condition()

    @property
    def served(self) -> Served:
        """Raises: SglangUnreachable, while no server is ready."""
        if self._served is None:
            raise SglangUnreachable(self._client.endpoint, self._missing)
        return self._served

    @property
    def card(self) -> ModelCard:
        """Raises: SglangUnreachable, while no server is ready."""
        if self._card is None:
            raise SglangUnreachable(self._client.endpoint, self._missing)
        return self._card

    def load(self) -> Load | None:
        """Return the server's own count as of the last look; None where it tells none."""
        return self._load

    async def change(self, known: ModelCard | None) -> ModelCard | None:
        """Wait until what is served is not `known`, and return it; None: nothing is served."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._card is not known)
            return self._card

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at the server again and again while the body runs."""
        async with self._client.opened(), background(self._watch(), "watch-sglang"):
            yield

    async def _watch(self) -> None:
        while True:
            served: Served | None = None
            try:
                served = await self._look()
                self._answered = self._clock()
            except SglangSilent as exc:
                silent_s = self._clock() - self._answered
                served = self._served if silent_s < _PATIENCE_S else None
                self._missing = exc.reason
                if served is None:
                    self._client.give_up()
            except SglangUnreachable as exc:
                self._missing = exc.reason
            except ServeError as exc:
                self._missing = exc.message
            except (AttributeError, LookupError, TypeError, ValueError) as exc:
                self._missing = f"what answers there is no SGLang server ({exc!r})"
            await self._take(served)
            await asyncio.sleep(self._look_every_s)

    async def _look(self) -> Served:
        if self._served is None:
            try:
                await self._client.call("/health", _HEALTH_S)
            except SglangBusy as exc:
                raise SglangUnreachable(self._client.endpoint, "it is starting (503)") from exc
            self._is_router = await self._asked_for_servers() is not None
        addresses = [self._client.endpoint]
        if self._is_router:
            addresses = await self._asked_for_servers() or []
        return await self._read_first(addresses)

    async def _asked_for_servers(self) -> list[str] | None:
        """Return the addresses of the servers that a router uses; None: this is no router."""
        try:
            told = await self._client.call("/workers", _CALL_S)
        except SglangFailed:
            return None
        return [str(one["url"]) for one in told["workers"] if one["is_healthy"]]

    async def _read_first(self, addresses: Sequence[str]) -> Served:
        """Read what the first server that answers serves; a router's all serve the same."""
        missing: ServeError = SglangUnreachable(self._client.endpoint, "its router has no server")
        for address in addresses:
            try:
                info = await self._first(address, "/model_info", "/get_model_info")
            except SglangUnreachable as exc:
                missing = exc
                continue
            identity = [address]
            identity += [info[key] for key in ("model_path", "served_model_name", "weight_version")]
            served = self._served
            if served is None or identity != self._identity:
                served = await self._read(info, address)
                self._identity = identity
            self._load = await self._read_load(addresses)
            return served
        raise missing

    async def _read(self, info: dict[str, Any], address: str) -> Served:
        image_tokens = await self._tokens(_IMAGE_TOKEN_ALONE, address)
        without_tools = await self._tokens(_ONE_MESSAGE, address)
        with_tool = await self._tokens(_WITH_TOOL, address) if self._uses_template else []
        answers = Answers(
            address=address,
            model=info,
            server=await self._first(address, "/server_info", "/get_server_info"),
            models=await self._client.call("/v1/models", _CALL_S, address),
            image_tokens=image_tokens,
            has_template=bool(without_tools),
            shows_tools=bool(with_tool) and with_tool != without_tools,
        )
        return served_of(answers, self._name)

    async def _tokens(self, asked: dict[str, Any], address: str) -> list[int]:
        try:
            answer = await self._client.call("/v1/tokenize", _CALL_S, address, asked)
        except (SglangUnreachable, SglangBusy):
            raise
        except ServeError:  # it has no template, or no tokenizer
            return []
        return [int(token) for token in answer["tokens"]]

    async def _read_load(self, addresses: Sequence[str]) -> Load | None:
        ranks = []
        for address in addresses:
            try:
                told = await self._client.call("/v1/loads?include=core", _CALL_S, address)
            except SglangFailed:
                return None
            except SglangUnreachable:  # a router notices; a single server is missed soon
                continue
            ranks += told["loads"]
        running = sum(rank["num_running_reqs"] + rank["num_waiting_reqs"] for rank in ranks)
        return Load(running, max(1, sum(rank["max_running_requests"] for rank in ranks)))

    async def _first(self, address: str, path: str, older: str) -> dict[str, Any]:
        try:
            info = await self._client.call(path, _CALL_S, address)
        except SglangFailed:
            info = await self._client.call(older, _CALL_S, address)
        return dict(info)

    async def _take(self, served: Served | None) -> None:
        if served is None:
            endpoint, missing = self._client.endpoint, self._missing
            self._warning.warn("not ready", "%s is not ready: %s; %s", endpoint, missing, _REMEDY)
        else:
            self._warning.reset()
        if served == self._served:
            return
        self._served, card = served, None if served is None else served.card
        if served is not None:
            self._announce(served)
        if card == self._card:  # behind a router, another server that serves the same
            return
        self._card = card
        async with self._changed:
            self._changed.notify_all()

    def _announce(self, served: Served) -> None:
        logger.info(
            "SGLang %s at %s serves %s as %r, with a context of %d tokens",
            served.version or "(version unknown)",
            self._client.endpoint,
            served.model_path,
            served.name,
            served.context_length,
        )
        for doubt in doubts_of(served):
            logger.warning("%s", doubt)
