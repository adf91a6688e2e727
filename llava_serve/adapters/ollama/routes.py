"""Routes of Ollama's protocol, over chat completions and the list of models.

What of that protocol changes models (`pull`, `create`, `delete` and the like) is not served.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from llava_serve.adapters.ollama import models
from llava_serve.adapters.ollama.request import (
    OllamaChat,
    OllamaPrompt,
    OllamaRequest,
    ShowRequest,
)
from llava_serve.adapters.routes import Answer, adapted_response
from llava_serve.errors import ModelNotFound
from llava_serve.http.body import read_json
from llava_serve.http.plain_route import PlainRoute
from llava_serve.protocol.error_shape import OLLAMA_PATH
from llava_serve.protocol.strict import parse_body

Endpoint = Callable[[Request], Awaitable[Response]]
ModelsFor = Callable[[Request], Sequence[models.Model]]  # those that its caller may ask


def ollama_router(models_for: ModelsFor, answer_chat: Answer) -> APIRouter:
    """Return the routes, given what lists models and what answers chat completions."""
    endpoints = _Endpoints(models_for, answer_chat)
    routes: tuple[tuple[str, str, Endpoint], ...] = (
        ("POST", "chat", endpoints.chat),
        ("POST", "generate", endpoints.generate),
        ("POST", "show", endpoints.show),
        ("GET", "tags", endpoints.tags),
        ("GET", "ps", endpoints.ps),
        ("GET", "version", endpoints.version),
    )
    router = APIRouter()
    for method, name, endpoint in routes:
        router.add_api_route(
            f"{OLLAMA_PATH}/{name}",
            endpoint,
            methods=[method],
            route_class_override=PlainRoute,
        )
    return router


@dataclass(frozen=True, slots=True)
class _Endpoints:
    models_for: ModelsFor
    answer_chat: Answer

    async def chat(self, request: Request) -> Response:
        return await self._answer(OllamaChat, request)

    async def generate(self, request: Request) -> Response:
        return await self._answer(OllamaPrompt, request)

    async def show(self, request: Request) -> Response:
        asked = parse_body(ShowRequest, (await read_json(request))[0])
        return JSONResponse(models.shown(self._find(asked.model, request)))

    async def tags(self, request: Request) -> Response:
        return JSONResponse(models.listed(self.models_for(request)))

    async def ps(self, request: Request) -> Response:
        return JSONResponse(models.running(self.models_for(request)))

    async def version(self, _: Request) -> Response:
        return JSONResponse(models.version())

    async def _answer(self, kind: type[OllamaRequest], request: Request) -> Response:
        asked = parse_body(kind, (await read_json(request))[0])
        if asked.asks_nothing:
            self._find(asked.model, request)
            return JSONResponse(asked.answer.loaded())
        adapted = asked.adapted(self._served_name(asked.model, request))
        return await adapted_response(request, adapted, self.answer_chat)

    def _find(self, name: str, request: Request) -> models.Model:
        served = {model.id: model for model in self.models_for(request)}
        if (found := served.get(self._served_name(name, request))) is None:
            raise ModelNotFound(name, list(served))
        return found

    def _served_name(self, name: str, request: Request) -> str:
        """Return the name by which a model is served that Ollama's clients may call `NAME:latest`.

        With Ollama that tag is the one of a name without any. A model whose own name ends so keeps
        it.
        """
        plain = name.removesuffix(":latest")
        is_own = plain != name and any(name == model.id for model in self.models_for(request))
        return name if is_own else plain
