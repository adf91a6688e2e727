"""From an event of the page to its handler, with the conversation of the tab it came from."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypedDict, TypeVar

import gradio as gr
from pydantic import BaseModel, ValidationError

from llava_serve import logs, serving
from llava_serve.errors import EngineFailure, InvalidField, ServeError
from llava_serve.web.conversation import Conversation
from llava_serve.web.sessions import Address, Place

logger = logging.getLogger(__name__)

NOT_TAKEN = "has a value that its control does not take"
Data = TypeVar("Data", bound=BaseModel)
told_errors: ContextVar[list[ServeError]] = ContextVar("told_errors")  # of the call that is served


class Quiet(TypedDict):
    queue: bool
    show_progress: Any
    api_visibility: Any
    preprocess: bool


# For events that answer at once: no place in the queue, no spinner, not part of an API. Values are
# checked here: Gradio's own checks know only the models that it has offered, name no field, and
# come back with each update of a control that had another one.
QUIET: Quiet = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
    "preprocess": False,
}


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
        serving.log_error(exc)
        told_errors.get([]).append(exc)
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


def _values(controls: Sequence[gr.components.Component], values: Sequence[Any]) -> list[Any]:
    """Return the values of controls as handlers take them.

    Any model may be named, and any number: what is served is known elsewhere, and the worker
    judges the parameters. Without a number it chooses.

    Raises:
        InvalidField: a control never has such a value.
    """
    return [_value(control, value) for control, value in zip(controls, values, strict=True)]


def _value(control: gr.components.Component, value: Any) -> Any:
    match control, value:
        case gr.MultimodalTextbox(), {"text": str(text), "files": list(files)}:
            return {"text": text, "files": [file["path"] for file in files]}
        case gr.Dropdown(multiselect=True), list() if all(isinstance(one, str) for one in value):
            return value
        case gr.Dropdown(multiselect=False | None), str() | None:
            return value
        case gr.Number(), int() | float():
            return round(value)
        case (gr.Number() | gr.Slider(), int() | float() | None):
            return value
        case gr.Textbox(), str() | int() | float() | None:
            return "" if value is None else str(value)
        case _:
            raise InvalidField("data", NOT_TAKEN)


def _read(kind: type[Data], event: gr.EventData) -> Data:
    """Return what an event says beside its name.

    Raises:
        InvalidField: it is not what the page's script sends.
    """
    try:
        return kind.model_validate(event._data)
    except ValidationError as exc:
        raise InvalidField("event_data", f"is no {kind.__name__}") from exc


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
                said = _values(inputs, values)
                return await handler((await self._place_of(request)).conversation, *said)

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
                said = _values(inputs, values)
                return await handler(await self._place_of(request), *said)

        return event(run, list(inputs), list(outputs), **QUIET)

    def on_data(
        self,
        event: Callable[..., Any],
        kind: type[Data],
        handler: Callable[[Conversation, Data], Awaitable[Any]],
        outputs: Sequence[Any],
    ) -> Any:
        """Call `handler(conversation, data)`, for an event that says more than its name."""

        async def run(request: gr.Request, data: gr.EventData) -> Any:
            with told():
                said = _read(kind, data)
                return await handler((await self._place_of(request)).conversation, said)

        return event(run, None, list(outputs), **QUIET)

    @staticmethod
    def plain(
        event: Callable[..., Any],
        kind: type[Data],
        handler: Callable[[Data], Awaitable[Any]],
        outputs: Sequence[Any],
    ) -> None:
        """Call `handler(data)` at once, for what concerns no conversation."""

        async def run(data: gr.EventData) -> Any:
            with told():
                return await handler(_read(kind, data))

        event(run, None, list(outputs), **QUIET)
