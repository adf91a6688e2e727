"""Event binder: from an event of the page to its handler, with its values checked."""

import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import gradio as gr
from pydantic import BaseModel, ValidationError

from llava_serve import logs
from llava_serve.errors import EngineFailure, InvalidField, ServeError
from llava_serve.http import serving
from llava_serve.logins.user import User, user_of
from llava_serve.storage.identity import NOBODY, Identity
from llava_serve.web.browser_identity import identity_of
from llava_serve.web.sessions import Address
from llava_serve.web.translations.error_text import error_text
from llava_serve.web.translations.language import translate

logger = logging.getLogger(__name__)

NOT_TAKEN = "has a value that its control does not take"
View = dict[str, Any]
"""What a handler returns: updates of controls, by the names that their panel gives them."""
Data = TypeVar("Data", bound=BaseModel)
told_errors: ContextVar[list[ServeError]] = ContextVar("told_errors")  # of the call that is served


# For events that answer at once: no place in the queue, no spinner, not part of an API. Values are
# checked here: Gradio's own checks know only the models that it has offered, name no field, and
# come back with each update of a control that had another one.
QUIET: dict[str, Any] = {
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
        raise gr.Error(error_text(exc).whole, print_exception=False) from exc
    except Exception as exc:
        if (request_id := logs.request_id.get()) == "-":  # Gradio's queue is outside any request
            logs.request_id.set(request_id := logs.new_request_id())
        logger.exception("a handler of the page failed")
        text = translate("page.failed", code=EngineFailure.code, request=request_id)
        raise gr.Error(text, print_exception=False) from exc


def session_name(request: gr.Request) -> str:
    """Return the name of the browser tab that calls; without one all would share a conversation."""
    if not request.session_hash:
        raise InvalidField("session_hash", "is missing: only a page that was loaded has one")
    return str(request.session_hash)


def caller(request: gr.Request) -> User | None:
    """Return who has signed in at the page that calls."""
    return None if request.request is None else user_of(request.request.scope)


def identity(request: gr.Request) -> Identity:
    """Return whose conversations are begun at the page that calls."""
    return NOBODY if request.request is None else identity_of(request.request.scope)


def address(request: gr.Request) -> Address:
    """Read what the address of the calling page names; Gradio sends it along with every event."""
    named = request.query_params
    return Address(
        named.get("chat"), named.get("compare"), named.get("arena"), named.getlist("model")
    )


class EventBinder:
    """Connects the controls of one tab; `place_of` finds where its conversation is shown.

    It may find anything else that the handlers of a panel take first.
    """

    def __init__(self, place_of: Callable[[gr.Request], Awaitable[Any]]) -> None:
        self._place_of = place_of

    def bind(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Awaitable[View]],
        inputs: Sequence[gr.components.Component],
        controls: Mapping[str, gr.components.Component],
    ) -> None:
        """Call `handler(place, *inputs)` at once, and update `controls` by what it returns."""

        async def run(request: gr.Request, *values: Any) -> Any:
            with told():
                read = map(_value, inputs, values)
                return _shown(controls, await handler(await self._place_of(request), *read))

        event(run, list(inputs), list(controls.values()), **QUIET)

    def bind_data(
        self,
        event: Callable[..., Any],
        kind: type[Data],
        handler: Callable[..., Awaitable[View]],
        controls: Mapping[str, gr.components.Component],
        inputs: Sequence[gr.components.Component] = (),
    ) -> gr.events.Dependency:
        """Call `handler(place, data, *inputs)`, for an event that says more than its name.

        Return what the page can do `then`.
        """

        async def run(request: gr.Request, event_data: gr.EventData, *values: Any) -> Any:
            with told():
                data, read = _data(kind, event_data), map(_value, inputs, values)
                place = await self._place_of(request)
                return _shown(controls, await handler(place, data, *read))

        outputs = list(controls.values())
        bound: gr.events.Dependency = event(run, list(inputs) or None, outputs, **QUIET)
        return bound


def _shown(controls: Mapping[str, Any], view: View) -> Any:
    """Return updates in the order of the controls; a single one stands alone, as Gradio wants."""
    updates = [view[name] for name in controls]
    return updates[0] if len(updates) == 1 else updates


def _value(control: gr.components.Component, value: Any) -> Any:
    """Return a control's value as handlers take it.

    Any model may be named, and any number: what is served is known elsewhere, and the worker
    judges the parameters. Without a number it chooses.

    Raises:
        InvalidField: the control never has such a value.
    """
    match control, value:
        case gr.MultimodalTextbox(), {"text": str(text), "files": list(files)}:
            return {"text": text, "files": [file["path"] for file in files]}
        case gr.Dropdown(multiselect=True), list() if all(isinstance(one, str) for one in value):
            return value
        case gr.Dropdown(multiselect=False | None), str() | None:
            return value
        case gr.Number(), int() | float() if math.isfinite(value):
            return round(value)
        case gr.Checkbox(), bool():
            return value
        case gr.Slider(), int() | float() if math.isfinite(value):
            return value
        case gr.Number() | gr.Slider(), None:
            return value
        case gr.Textbox(), str() | int() | float() | None:
            return "" if value is None else str(value)
        case _:
            raise InvalidField("data", NOT_TAKEN)


def _data(kind: type[Data], event: gr.EventData) -> Data:
    """Return what an event says beside its name.

    Raises:
        InvalidField: it is not what the page's script sends.
    """
    try:
        return kind.model_validate(event._data)
    except ValidationError as exc:
        raise InvalidField("event_data", f"is no {kind.__name__}") from exc
