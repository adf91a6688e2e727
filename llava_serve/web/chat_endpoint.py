"""Chat endpoint: the page's named endpoints, by which programs with `gradio_client` ask."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import gradio as gr
from gradio import FileData
from gradio.events import api
from pydantic import BaseModel, Field, FiniteFloat, TypeAdapter, ValidationError

from llava_serve.errors import InvalidField, NoWorker, TooManyFiles
from llava_serve.web.attaching import MOST_FILES
from llava_serve.web.chat_service import ChatService, Services
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.event_binder import caller, identity
from llava_serve.web.moderation import check_all
from llava_serve.web.parameters import AT_FIRST, Parameters
from llava_serve.web.persistence import TurnWriter
from llava_serve.web.reply import StreamedReply
from llava_serve.web.sessions import Sessions
from llava_serve.web.translations.error_text import error_text
from llava_serve.web.translations.language import current

MOST_WAITING = 100  # calls that Gradio's queue holds; for one more it says that it is full
_MOST_SAID = 1000  # messages of before, each of which is written down
_INTERVAL_S = 0.05  # between two updates, at least
_QUIET_S = 1.0  # after so long the same text is sent: Gradio notices only then that its client left
_IMAGES = "takes files as `gradio_client` sends them: handle_file(PATH), or a list of those"


class _Upload(BaseModel):
    """An uploaded file, with the path that `uploads.with_paths` has put in place of its name."""

    path: str


class _Said(BaseModel):
    """A message of before."""

    role: Literal["user", "assistant"]
    content: str


class _ChatCall(BaseModel):
    """The values of a call, as JSON has them: Gradio checks none of them."""

    message: str
    images: _Upload | list[_Upload] | None
    model: str | None
    system: str
    temperature: FiniteFloat | None
    top_p: FiniteFloat | None
    max_tokens: int | None
    seed: int | None
    history: Annotated[list[_Said], Field(max_length=_MOST_SAID)] | None

    @property
    def paths(self) -> list[str]:
        """Where the files lie."""
        files = self.images if isinstance(self.images, list) else [self.images]
        return [file.path for file in files if file is not None]

    @property
    def parameters(self) -> Parameters:
        """The parameters of the answer."""
        return Parameters(
            self.temperature,
            self.top_p,
            self.max_tokens,
            seed="" if self.seed is None else str(self.seed),
            system=self.system,
        )


_CHAT_CALL = TypeAdapter(_ChatCall)


class ChatEndpoint:
    """Asks a question in a conversation of its own, which is kept as those of the page are."""

    def __init__(self, services: Services, sessions: Sessions) -> None:
        self._services = services
        self._sessions = sessions
        self._service = ChatService(services)
        self._writer = TurnWriter(services.store)

    async def ask(self, values: dict[str, Any], request: gr.Request) -> AsyncIterator[str]:
        """Yield the text so far; whoever leaves, or closes the iterator, stops the worker.

        Raises:
            InvalidField: a value is none that its argument takes.
            ServeError: the page refuses the question.
            gr.Error: the answer failed; all of its text was yielded before.
        """
        if request.request is not None:
            current.set(self._services.languages.chosen(request.request.scope))
        call = _checked(values)
        conversation = ChatState(user=caller(request), browser=identity(request).browser)
        self._sessions.know(conversation)
        model = call.model or next((card.id for card in self._services.link.cards), None)
        if model is None:
            raise self._services.link.error or NoWorker("any model")
        await self._remember(conversation, call.history or (), model)
        message = {"text": call.message, "files": call.paths}
        try:
            if not await self._service.accept(conversation, message, [model], call.parameters):
                assert conversation.notice is not None
                raise conversation.notice
            async for text in _texts(conversation):
                yield text
        finally:
            conversation.stop()

    async def _remember(
        self, conversation: ChatState, history: Sequence[_Said], model: str
    ) -> None:
        """Begin the conversation with what was said before, as if it had been said here."""
        await check_all(self._services.moderation, (said.content for said in history))
        exchanges = conversation.exchanges
        for said in history:
            if said.role == "user":
                exchanges.append(Exchange(said.content, (), number=len(exchanges)))
            elif not exchanges or exchanges[-1].replies:
                raise InvalidField("history", "has an answer to no question")
            else:
                reply = StreamedReply(model, text=said.content, state="done", finish_reason="stop")
                exchanges[-1].replies.append(reply)
        for exchange in exchanges:
            await self._writer.question(conversation, exchange)
            await self._writer.replies(conversation, exchange)

    async def models(self) -> list[str]:
        """Return the models that are served."""
        return [card.id for card in self._services.link.cards]


def _checked(values: dict[str, Any]) -> _ChatCall:
    try:
        call = _CHAT_CALL.validate_python(values, strict=True)
    except ValidationError as exc:
        first = exc.errors()[0]
        field = str(first["loc"][0])
        raise InvalidField(field, _IMAGES if field == "images" else first["msg"]) from exc
    if len(call.paths) > MOST_FILES:
        raise TooManyFiles(len(call.paths), MOST_FILES)
    return call


async def _texts(conversation: ChatState) -> AsyncIterator[str]:
    """Yield how far the reply of the last exchange has come, until it ends."""
    (reply,) = conversation.exchanges[-1].replies
    sent, sent_at = "", time.monotonic()
    while reply.is_open:
        pulse = conversation.pulse
        if reply.text != sent or time.monotonic() - sent_at >= _QUIET_S:
            sent, sent_at = reply.text, time.monotonic()
            yield sent
        await asyncio.sleep(_INTERVAL_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(pulse.wait(), _QUIET_S)
    if reply.text != sent or not sent:
        yield reply.text
    if reply.error is not None:  # the log has it from where it happened
        raise gr.Error(error_text(reply.error).whole, print_exception=False) from reply.error


def build(services: Services, sessions: Sessions) -> None:
    """Add the endpoints to the page that is laid out; nothing of them is to be seen on it."""
    endpoint = ChatEndpoint(services, sessions)

    async def chat(  # noqa: PLR0913 - what a call can say
        message: str,
        request: gr.Request,
        images: list[FileData] | FileData | None = None,
        model: str | None = None,
        system: str = "",
        temperature: float | None = AT_FIRST.temperature,
        top_p: float | None = AT_FIRST.top_p,
        max_tokens: int | None = AT_FIRST.max_tokens,
        seed: int | None = None,
        history: list[dict[str, str]] | None = None,
    ) -> AsyncIterator[str]:
        """Ask a model, by default the first that is served, about images; the answer so far comes.

        `history` is what was said before, as `{"role": "user" or "assistant", "content": text}`.
        """
        values = {name: value for name, value in locals().items() if name in _ChatCall.model_fields}
        async for text in endpoint.ask(values, request):
            yield text

    # Gradio tells programs what comes by the hint, and knows no iterators.
    chat.__annotations__["return"] = str
    # Programs leave half of the page's places to browsers.
    places = max(1, services.running.limit // 2)
    api(chat, api_name="chat", concurrency_limit=places)
    api(endpoint.models, api_name="models", queue=False)
