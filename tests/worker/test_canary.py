"""What the controller asks to see how a worker is counts in no metric of the worker."""

import re

import httpx
import pytest

from llava_serve.http.access import Access
from llava_serve.protocol.cluster import CANARY
from llava_serve.worker.app import build_app
from llava_serve.worker.worker import ModelWorker
from tests.worker.conftest import MAX_BODY_BYTES, ClientOf


@pytest.mark.parametrize(("token", "counted"), [("the-token", 0), ("a-guess", 1)])
async def test_a_canary_of_the_cluster_is_not_counted(
    worker: ModelWorker, client_of: ClientOf, token: str, counted: int
) -> None:
    app = build_app(worker, max_body_bytes=MAX_BODY_BYTES, access=Access(token="the-token"))
    async with client_of(app) as http:
        await asked(http, {CANARY: "1", "Authorization": f"Bearer {token}"})
        shown = (await http.get("/metrics")).text
    found = re.search(r'llava_worker_requests_total{outcome="completed"} (\S+)', shown)
    assert (float(found[1]) if found else 0) == counted


async def asked(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "one two"}]}
    answer = await http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
