"""LLaVA's own wire over the same engine: a thin adapter, with real messages in its errors.

Every answer of `/worker_generate_stream` to a JSON body has status 200 and ends with a chunk of
text or of error, because that is all LLaVA's clients look at.
"""

from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import ValidationError

from llava_serve.errors import (
    InvalidField,
    MediaNotAccepted,
    ModelNotFound,
    NotJson,
    ServeError,
)
from llava_serve.http.body import read_json, read_once
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.llava import LlavaChunk, LlavaRequest
from llava_serve.protocol.openai import ModelCard
from llava_serve.request import Delta, SamplingParams
from llava_serve.worker.answer import Answer
from llava_serve.worker.stream import StreamedAnswer
from llava_serve.worker.worker import Worker

_MEDIA_TYPE = "application/octet-stream"
_GREEDY_BELOW = 0.001  # Source: haotian-liu/LLaVA@c121f04, model_worker.py: do_sample


class OldChunks(StreamedAnswer):
    """Chunks of the prompt and all text so far; in silence the last one comes again."""

    errors_in_stream = True

    def __init__(self, answer: Answer, prompt: str, keep_alive_s: float) -> None:
        super().__init__(answer, {"Content-Type": _MEDIA_TYPE}, keep_alive_s)
        self._text = prompt

    def encode(self, delta: Delta) -> bytes:
        self._text += delta.text
        return self.keep_alive()

    def keep_alive(self) -> bytes:
        return LlavaChunk(text=self._text).encode()

    def end(self) -> bytes:
        return b""

    def failure(self, error: ServeError) -> bytes:
        return LlavaChunk.from_error(error).encode()


def add_routes(app: FastAPI, worker: Worker, keep_alive_s: float) -> None:
    """Give `app` the old wire's routes."""

    @app.post("/worker_get_status")
    async def worker_get_status() -> WorkerStatus:
        return worker.status(worker.engine.card)

    @app.post("/worker_generate_stream")
    async def worker_generate_stream(request: Request) -> Response:
        try:
            asked = parse((await read_json(request))[0], worker.engine.card)
        except NotJson:  # what no client of LLaVA's sends; the controller answers it the same way
            raise
        except ServeError as exc:
            content = LlavaChunk.from_error(exc).encode()
            return Response(content, headers=exc.headers, media_type=_MEDIA_TYPE)
        read = partial(worker.media.ready_prompt, asked.prompt, asked.images or [])
        read_prompt = read_once(request, read)
        answer = Answer(worker, read_prompt, sampling_of(asked))
        # LLaVA's controller gives up after 5 s without a byte: be there before.
        return OldChunks(answer, asked.prompt, keep_alive_s / 2)


def parse(body: object, card: ModelCard) -> LlavaRequest:
    """Check a decoded body against the model behind `card`.

    Raises:
        InvalidField: a field is missing, unknown or out of range.
        ModelNotFound: it is for another model.
        MediaNotAccepted: it brings pictures, and this model takes none.
    """
    try:
        asked = LlavaRequest.model_validate(body)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise InvalidField(".".join(map(str, first["loc"])) or "body", first["msg"]) from exc
    if asked.model != card.id:
        raise ModelNotFound(asked.model, [card.id])
    if asked.images and not card.accepts_images:
        raise MediaNotAccepted(card.id, "pictures")
    return asked


def sampling_of(asked: LlavaRequest) -> SamplingParams:
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    is_greedy = asked.temperature <= _GREEDY_BELOW or asked.top_p == 0
    return SamplingParams(
        temperature=0 if is_greedy else asked.temperature,
        top_p=asked.top_p or 1.0,
        max_new_tokens=asked.max_new_tokens,
        stop=tuple(stop for stop in stops if stop),
    )
