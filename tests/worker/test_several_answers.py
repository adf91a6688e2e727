"""Several answers to one request of a worker: side by side, within its slots."""

from collections.abc import AsyncGenerator

import httpx

from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.media.reader import MediaReader
from llava_serve.request import Delta, GenerateRequest
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.worker.test_app import ClientOf, events, question


async def test_several_answers_come_whole_or_as_streams_side_by_side(
    http: httpx.AsyncClient,
) -> None:
    asked = question(n=3, stream_options={"include_usage": True})
    whole = (await http.post("/v1/chat/completions", json=asked)).json()
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in whole["choices"]} == {"hello there"}
    assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"]) == (2, 6)
    *chunks, last = events(await http.post("/v1/chat/completions", json=asked | {"stream": True}))
    for index in range(3):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert "".join(c["delta"].get("content", "") for c in own) == "hello there"
        assert own[-1]["finish_reason"] == "stop"
    assert last["usage"] == whole["usage"]


async def test_more_answers_than_slots_are_made_no_faster_than_slots_allow(
    client_of: ClientOf,
) -> None:
    class Counting(EchoEngine):
        most = 0

        async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
            async for delta in super().stream(request):
                self.most = max(self.most, self.running)
                yield delta

    engine = Counting(delay_s=0.001)
    worker = ModelWorker(engine, Gate(2, 0), MediaReader(MediaConfig()), worker_id="id")
    async with client_of(build_app(worker, max_body_bytes=10**6)) as http:
        answer = (await http.post("/v1/chat/completions", json=question(n=5))).json()
    assert len(answer["choices"]) == 5
    assert engine.most == 2
