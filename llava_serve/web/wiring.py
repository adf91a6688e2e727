"""From an event of the page to its handler, with the conversation of the tab it came from."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

import gradio as gr

from llava_serve import logs
from llava_serve.errors import EngineFailure, InvalidField, ServeError
from llava_serve.web.sessions import Address, Place

logger = logging.getLogger(__name__)


class Quiet(TypedDict):
    queue: bool
    show_progress: Any
    api_visibility: Any


# For events that answer at once: no place in the queue, no spinner, not part of an API.
QUIET: Quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@contextmanager
def told() -> Iterator[None]:
    """Tell the browser of an error that has no place on the page.

    A bug is logged with its traceback; of it the browser learns the request id and no more.
    """
    try:
        yield
    except gr.Error:
        raise
    except ServeError as exc:
        raise gr.Error(exc.for_user, print_exception=False) from exc
    except Exception as exc:
        if (request_id := logs.request_id.get()) == "-":  # Gradio's queue is outside any request
            logs.request_id.set(request_id := logs.new_request_id())
        logger.exception("a handler of the page failed")
        failure = EngineFailure("an internal error; its cause is in the log")
        text = f"{failure.message} ({failure.code}, request {request_id})"
        raise gr.Error(text, print_exception=False) from exc


def session_name(request: gr.Request) -> str:
    """Return the name of the browser tab that calls; without one all would share a conversation."""
    if not request.session_hash:
        raise InvalidField("session_hash", "is missing: only a page that was loaded has one")
    return str(request.session_hash)


def address(request: gr.Request) -> Address:
    """Read what the address of the calling page names; Gradio sends it along with every event."""
    named = request.query_params
    return Address(named.get("chat"), named.get("compare"), named.getlist("model"))


def not_yet(text: str) -> gr.Error:
    """Return what a handler raises that changes nothing, with the reason for the user.

    `gr.Info` would print it on the server: it works for queued events only.
    """
    return gr.Error(text, title="Not yet", print_exception=False)


class Wire:
    """Connects the controls of one tab; `place_of` finds where its conversation is shown."""

    def __init__(self, place_of: Callable[[gr.Request], Awaitable[Place]]) -> None:
        self._place_of = place_of

    def on(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Awaitable[Any]],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
    ) -> Any:
        """Call `handler(conversation, *inputs)` at once; return Gradio's handle of the event."""

        async def run(request: gr.Request, *values: Any) -> Any:
            with told():
                return await handler((await self._place_of(request)).conversation, *values)

        return event(run, list(inputs), list(outputs), **QUIET)

    def on_place(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Awaitable[Any]],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
    ) -> Any:
        """Call `handler(place, *inputs)`, which may show another conversation there."""

        async def run(request: gr.Request, *values: Any) -> Any:
            with told():
                return await handler(await self._place_of(request), *values)

        return event(run, list(inputs), list(outputs), **QUIET)

    def on_data(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Awaitable[Any]],
        outputs: Sequence[Any],
    ) -> Any:
        """Call `handler(conversation, event)`, for an event that says more than its name."""

        async def run(request: gr.Request, data: gr.EventData) -> Any:
            with told():
                return await handler((await self._place_of(request)).conversation, data)

        return event(run, None, list(outputs), **QUIET)

    @staticmethod
    def plain(
        event: Callable[..., Any],
        handler: Callable[[gr.EventData], Awaitable[Any]],
        outputs: Sequence[Any],
    ) -> None:
        """Call `handler(event)` at once, for what concerns no conversation."""

        async def run(data: gr.EventData) -> Any:
            with told():
                return await handler(data)

        event(run, None, list(outputs), **QUIET)
