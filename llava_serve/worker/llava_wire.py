"""LLaVA's own wire over the same engine: a thin adapter, with real messages in its errors.

Every answer of `/worker_generate_stream` to a JSON body has status 200 and ends with a chunk of
text or of error, because that is all LLaVA's clients look at.
"""

from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import ValidationError

from llava_serve.errors import MediaNotAccepted, ModelNotFound, NotJson, ServeError
from llava_serve.http.body import read_json, read_once
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.llava import SEPARATOR, LlavaChunk, LlavaRequest
from llava_serve.protocol.model_card import ModelCard
from llava_serve.protocol.strict import refusal_of
from llava_serve.request import Delta, SamplingParams
from llava_serve.worker.controller_options import ControllerOptions
from llava_serve.worker.generation import Generation
from llava_serve.worker.resumption import Resumption
from llava_serve.worker.stream import StreamedResponse
from llava_serve.worker.worker import ModelWorker

_MEDIA_TYPE = "application/octet-stream"
_GREEDY_BELOW = 0.001  # Source: haotian-liu/LLaVA@c121f04, model_worker.py: do_sample


class LlavaChunks(StreamedResponse):
    """Chunks of the prompt and all text so far; in silence the last one comes again."""

    errors_in_stream = True
    separator = SEPARATOR

    def __init__(
        self,
        generation: Generation,
        prompt: str,
        keep_alive_s: float,
        resumption: Resumption | None = None,
    ) -> None:
        super().__init__(generation, {"Content-Type": _MEDIA_TYPE}, keep_alive_s, resumption)
        self._text = prompt

    def encode(self, delta: Delta) -> bytes:
        """Return the chunk of all text so far."""
        self._text += delta.text
        return self.keep_alive()

    def keep_alive(self) -> bytes:
        """Return the last chunk again."""
        return LlavaChunk(text=self._text).encode()

    def end(self) -> bytes:
        """Return nothing: the last chunk has the whole text."""
        return b""

    def failure(self, error: ServeError) -> bytes:
        """Return a chunk of the error."""
        return LlavaChunk.from_error(error).encode()


def add_routes(app: FastAPI, worker: ModelWorker, keep_alive_s: float) -> None:
    """Give `app` the routes of LLaVA's wire."""

    @app.post("/worker_get_status")
    async def worker_get_status() -> WorkerStatus:
        return worker.status(worker.engine.card)

    @app.post("/worker_generate_stream")
    async def worker_generate_stream(request: Request) -> Response:
        try:
            content = (await read_json(request))[0]
            options = ControllerOptions(request, content)
            body = parse(content, worker.engine.card)
        except NotJson:  # what no client of LLaVA's sends; the controller answers it the same way
            raise
        except ServeError as exc:
            chunk = LlavaChunk.from_error(exc).encode()
            return Response(chunk, headers=exc.headers, media_type=_MEDIA_TYPE)
        read = partial(worker.media.ready_prompt, body.prompt, body.images or [])
        read_prompt = read_once(request, read)
        generation = options.generation(worker, read_prompt, sampling_of(body))
        # LLaVA's controller gives up after 5 s without a byte: be there before.
        shown = "" if body.echo is False else body.prompt
        return LlavaChunks(generation, shown, keep_alive_s / 2, options.resumption)


def parse(content: object, card: ModelCard) -> LlavaRequest:
    """Check a decoded body against the model behind `card`.

    Raises:
        InvalidField: a field is missing, unknown or out of range.
        ModelNotFound: it is for another model.
        MediaNotAccepted: it brings pictures, and this model takes none.
    """
    try:
        body = LlavaRequest.model_validate(content)
    except ValidationError as exc:
        raise refusal_of(exc, content) from exc
    if body.model != card.id:
        raise ModelNotFound(body.model, [card.id])
    if body.images and not card.accepts_images:
        raise MediaNotAccepted(card.id, "pictures")
    return body


def sampling_of(body: LlavaRequest) -> SamplingParams:
    """Translate the fields of LLaVA's wire into the engine's; a top_p of 0 is greedy."""
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    is_greedy = body.temperature <= _GREEDY_BELOW or body.top_p == 0
    return SamplingParams(
        temperature=0 if is_greedy else body.temperature,
        top_p=body.top_p or 1.0,
        max_new_tokens=body.max_new_tokens,
        stop=tuple(stop for stop in stops if stop),
    )
