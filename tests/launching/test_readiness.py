"""When a process counts as ready; a worker of one model stands for the controller too."""

import aiohttp
from fastapi import FastAPI, Response

from llava_serve import serving
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.launching.plan import Process
from llava_serve.launching.readiness import Readiness
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker


async def _missing(address: str, model: str | None) -> str | None:
    async with aiohttp.ClientSession() as session:
        process = Process("it", ("true",), address, model)
        return await Readiness(session, address).missing(process)


async def test_a_process_is_ready_when_it_answers_and_its_model_is_listed() -> None:
    engine, media = EchoEngine("echo"), MediaReader(MediaConfig())
    worker = ModelWorker(engine, Gate(1, 1), media, worker_id="this-one")
    async with serving.served(build_app(worker, max_body_bytes=1000)) as address:
        assert await _missing(address, None) is None
        assert await _missing(address, "echo") is None
        assert "does not list" in str(await _missing(address, "other"))


async def test_a_process_that_does_not_answer_lacks_that() -> None:
    assert "nothing answers at http://127.0.0.1:1/health" in str(
        await _missing("http://127.0.0.1:1", None)
    )


async def test_a_process_that_says_it_is_ill_is_not_ready() -> None:
    app = FastAPI()

    @app.get("/health")
    async def health() -> Response:
        return Response(status_code=503)

    async with serving.served(app) as address:
        assert "answers 503" in str(await _missing(address, None))


async def test_a_worker_lacks_the_server_that_it_waits_for_and_is_not_asked() -> None:
    asked = []
    app = FastAPI()

    @app.get("/health")
    async def health() -> None:
        asked.append("health")

    async with serving.served(app) as address, aiohttp.ClientSession() as session:
        process = Process("it", ("true",), address, behind="http://127.0.0.1:1")
        missing = await Readiness(session, address).missing(process)
    assert "nothing answers at http://127.0.0.1:1/health" in str(missing)
    assert asked == []
