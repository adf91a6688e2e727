"""A worker tells what operators want to know, while answers are made too."""

import httpx
from fastapi import FastAPI

from llava_serve import __version__
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.vitals import vitals_of
from llava_serve.worker.worker import ModelWorker

BODY = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}


async def test_the_sums_grow_with_each_delta_and_are_exact_at_the_end() -> None:
    now = 100.0
    worker = ModelWorker(
        EchoEngine(), Gate(1, 1), MediaReader(MediaConfig()), "one", clock=lambda: now
    )
    app: FastAPI = build_app(worker, max_body_bytes=9999)
    now = 107.0
    assert vitals_of(worker).model_dump(exclude_none=True) == {
        "version": __version__,
        "uptime_s": 7.0,
        "generated_tokens": 0,
        "prompt_tokens": 0,
        "cached_tokens": 0,
    }
    seen = []
    async with served(app) as address, httpx.AsyncClient(trust_env=False) as http:
        for stream in (True, False):
            body = BODY | {"stream": stream}
            url = f"{address}/v1/chat/completions"
            async with http.stream("POST", url, json=body) as answer:
                async for _ in answer.aiter_lines():
                    seen.append(vitals_of(worker).generated_tokens)
    told = vitals_of(worker)
    assert (told.generated_tokens, told.prompt_tokens) == (6, 6)
    assert seen == sorted(seen)
