"""Several controllers of one cluster, asked as one: the next takes over from one that is away."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from openai.types.chat import ChatCompletionChunk

from llava_serve.client import ChatClient
from llava_serve.errors import ControllerLost, ControllerUnreachable, RemoteError, ServeError
from llava_serve.errors.base import DECLINED, not_answered
from llava_serve.protocol.inspection import Inspection
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.model_card import ModelCard


class Controllers:
    """Asks the controllers behind `clients` in turn, beginning with the one that answered last."""

    def __init__(self, clients: Iterable[ChatClient]) -> None:
        self._clients = [*clients]

    @property
    def address(self) -> str:
        """The addresses, in the order they are asked in."""
        return ", ".join(client.address for client in self._clients)

    async def models(self) -> list[ModelCard]:
        """Return what the first controller serves that serves anything at this moment.

        Raises:
            ControllerUnreachable: none answers.
            RemoteError: none answers as a controller does.
        """
        failures: list[ServeError] = []
        for client in tuple(self._clients):
            try:
                if cards := await client.models():
                    self._prefer(client)
                    return cards
            except (ControllerUnreachable, RemoteError) as exc:
                failures.append(exc)
        if len(failures) < len(self._clients):
            return []
        raise _what_to_say(failures)

    async def administer(self, method: str, path: str, body: Any = None) -> bytes:
        """Return what the first controller that answers says; see `ChatClient.administer`."""
        failures: list[ServeError] = []
        for client in tuple(self._clients):
            try:
                return await client.administer(method, path, body)
            except ControllerUnreachable as exc:
                failures.append(exc)
        raise _what_to_say(failures)

    async def inspect(
        self, body: dict[str, Any], *, with_pixels: bool = False, user: str | None = None
    ) -> Inspection:
        """Return what the model would see of a request, from the first controller that tells.

        Raises:
            ServeError: as `ChatClient.inspect`; where none tells, what the last one said.
        """
        failures: list[ServeError] = []
        for client in tuple(self._clients):
            try:
                return await client.inspect(body, with_pixels=with_pixels, user=user)
            except (ControllerUnreachable, RemoteError) as exc:
                if not _may_ask_another(exc):
                    raise
                failures.append(exc)
        raise _what_to_say(failures)

    async def stream(
        self,
        body: dict[str, Any],
        request_id: str | None = None,
        on_place: Callable[[LinePlace | None], None] = lambda place: None,
        user: str | None = None,
    ) -> AsyncGenerator[ChatCompletionChunk]:
        """Yield the chunks of one answer, from the first controller that begins one.

        What is lost after its first text is not asked for again: another answer begins otherwise.

        Raises:
            ServeError: as `ChatClient.stream`; where no controller answers, what the last one said.
        """
        failures: list[ServeError] = []
        for client in tuple(self._clients):
            has_begun = False
            try:
                async with aclosing(client.stream(body, request_id, on_place, user)) as chunks:
                    async for chunk in chunks:
                        if not has_begun and _has_content(chunk):
                            has_begun = True
                            self._prefer(client)
                        yield chunk
                return
            except (ControllerUnreachable, ControllerLost, RemoteError) as exc:
                if has_begun or not _may_ask_another(exc):
                    raise
                failures.append(exc)
        raise _what_to_say(failures)

    def _prefer(self, client: ChatClient) -> None:
        i = self._clients.index(client)
        self._clients = self._clients[i:] + self._clients[:i]


def _has_content(chunk: ChatCompletionChunk) -> bool:
    return any(choice.delta.content or choice.finish_reason for choice in chunk.choices)


def _may_ask_another(error: ServeError) -> bool:
    return not isinstance(error, RemoteError) or not_answered(error.code) == DECLINED


def _what_to_say(failures: Sequence[ServeError]) -> ServeError:
    """Return the error that tells most: what a controller said, or that none is there."""
    said = [failure for failure in failures if not isinstance(failure, ControllerUnreachable)]
    if said or len(failures) == 1:
        return (said or failures)[-1]
    unreachable = [exc for exc in failures if isinstance(exc, ControllerUnreachable)]
    return ControllerUnreachable(
        ", ".join(exc.address for exc in unreachable), "; ".join(exc.reason for exc in unreachable)
    )
