"""A worker that names the colour in the middle of a picture; or one that does not look."""

import base64
import io
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image

from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.model_card import ModelCard

Answer = Callable[[Image.Image], Response]


def said(text: str, *top: tuple[str, float]) -> Response:
    told = [{"token": name, "logprob": value, "top_logprobs": []} for name, value in top[:1]]
    for one in told:
        one["top_logprobs"] = [{"token": name, "logprob": value} for name, value in top]
    choice = {"message": {"content": text}, "logprobs": {"content": told}}
    return JSONResponse({"choices": [choice]})


def looks(image: Image.Image) -> Response:
    """Answer by how much of the picture is red, blue or black."""
    pixels = np.asarray(image).reshape(-1, 3)
    dark = pixels[(pixels != 255).any(axis=1)]
    red, _, blue = dark.sum(axis=0) / 255
    name = "red" if red > blue else "blue"
    return said(name, (name, -0.1), ("other", -5 - red / 1000), ("another", -5 - len(dark) / 1000))


def is_blind(_: Image.Image) -> Response:
    return said("nothing", ("nothing", -0.1), ("red", -5.0))


def fails(_: Image.Image) -> Response:
    error = {"message": "the model computed no number", "code": "engine_failure"}
    return JSONResponse({"error": error}, 500)


def is_busy(_: Image.Image) -> Response:
    return JSONResponse({"error": {"message": "full"}}, 429, {"X-Not-Answered": "busy"})


def refuses(_: Image.Image) -> Response:
    return JSONResponse({"error": {"message": "too long"}}, 400)


@dataclass
class SightedWorker:
    """Answers pictures by `answer`; `questions` are those it was asked, with their headers."""

    answer: Answer = looks
    model: str = "m"
    engine: str = "torch"
    accepts_images: bool = True
    queue_length: int = 0
    address: str = ""
    questions: list[tuple[dict[str, Any], dict[str, str]]] = field(default_factory=list)
    worker_id: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def canaries(self) -> int:
        return sum("x-llava-canary" in headers for _, headers in self.questions)

    @property
    def status(self) -> WorkerStatus:
        card = ModelCard.model_validate(
            {
                "id": self.model,
                "context_length": 100,
                "accepts_images": self.accepts_images,
                "accepts_video": False,
                "engine": self.engine,
            }
        )
        return WorkerStatus(
            model_names=[self.model],
            worker_id=self.worker_id,
            queue_length=self.queue_length,
            cards=[card],
        )

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/worker_get_status")
        async def worker_get_status() -> WorkerStatus:
            return self.status

        @app.post("/v1/chat/completions")
        async def chat_completions(request: Request) -> Response:
            body = await request.json()
            self.questions.append((body, dict(request.headers)))
            content = body["messages"][-1]["content"]
            if isinstance(content, str):
                return said("text")
            url = content[0]["image_url"]["url"]
            encoded = base64.b64decode(url.partition("base64,")[2])
            return self.answer(Image.open(io.BytesIO(encoded)).convert("RGB"))

        return app
