"""From an event of the page to its handler, with the conversation of the tab it came from."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, TypedDict

import gradio as gr

from llava_serve import logs
from llava_serve.errors import EngineFailure, InvalidField, ServeError
from llava_serve.web.conversation import Conversation

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


def not_yet(text: str) -> gr.Error:
    """Return what a handler raises that changes nothing, with the reason for the user.

    `gr.Info` would print it on the server: it works for queued events only.
    """
    return gr.Error(text, title="Not yet", print_exception=False)


class Wire:
    """Connects the controls of one tab; `conversation_of` finds the tab's by Gradio's session."""

    def __init__(self, conversation_of: Callable[[str], Conversation]) -> None:
        self._conversation_of = conversation_of

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
                return await handler(self._conversation_of(session_name(request)), *values)

        return event(run, list(inputs), list(outputs), **QUIET)

    def stream(
        self,
        event: Callable[..., Any],
        handler: Callable[[Conversation], AsyncGenerator[str]],
        output: Any,
    ) -> Any:
        """Show what `handler(conversation)` yields, as soon as the page has a place for it."""

        async def run(request: gr.Request) -> AsyncGenerator[str]:
            with told():
                async with aclosing(
                    handler(self._conversation_of(session_name(request)))
                ) as updates:
                    async for update in updates:
                        yield update

        return event(
            run,
            None,
            output,
            show_progress="hidden",
            api_visibility="private",
            concurrency_id="answers",  # one limit for all; by default each event has its own
        )

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
