"""Tokenisation routes of the worker: prompts as tokens, and tokens as text."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel

from llava_serve.errors import ModelNotFound
from llava_serve.http.body import read_json
from llava_serve.media.limits import PixelReservation
from llava_serve.protocol.tokenization import (
    ChatToTokenize,
    TextToTokenize,
    parse_detokenization,
    parse_tokenization,
)
from llava_serve.request import DetokenizeRequest, ReadyPrompt, TokenizeRequest
from llava_serve.worker.inspection import ReadConversation
from llava_serve.worker.line_body import LineBody, Work
from llava_serve.worker.worker import ModelWorker

ReaderOf = Callable[[Request, Any], ReadConversation]


def add_routes(app: FastAPI, worker: ModelWorker, reader_of: ReaderOf) -> None:
    """Give `app` the routes; `reader_of` checks the body of a chat completion."""

    @app.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        body = parse_tokenization((await read_json(request))[0])
        _check_model(worker, body.model)
        if isinstance(body, TextToTokenize):
            return LineBody(worker, _of_text(worker, body))
        return LineBody(worker, _of_chat(worker, body, reader_of(request, body.chat_body)))

    @app.post("/detokenize")
    async def detokenize(request: Request) -> Response:
        body = parse_detokenization((await read_json(request))[0])
        _check_model(worker, body.model)

        async def detokenized(_: PixelReservation) -> BaseModel:
            return await worker.engine.detokenize(DetokenizeRequest(tuple(body.tokens)))

        return LineBody(worker, detokenized)


def _check_model(worker: ModelWorker, model: str) -> None:
    if model != (served := worker.engine.card.id):
        raise ModelNotFound(model, [served])


def _of_text(worker: ModelWorker, body: TextToTokenize) -> Work:
    async def tokenized(_: PixelReservation) -> BaseModel:
        asked = TokenizeRequest(
            prompt=ReadyPrompt(body.prompt),
            adds_special_tokens=body.add_special_tokens is not False,
            with_strings=bool(body.return_token_strs),
        )
        return await worker.engine.tokenize(asked)

    return tokenized


def _of_chat(worker: ModelWorker, body: ChatToTokenize, read: ReadConversation) -> Work:
    async def tokenized(reservation: PixelReservation) -> BaseModel:
        asked = TokenizeRequest(
            prompt=await read(reservation), with_strings=bool(body.return_token_strs)
        )
        return await worker.engine.tokenize(asked)

    return tokenized
