"""Memory does not grow with the questions."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.evaluation.answering import MODEL, events, image_line, write_image, write_lines
from tests.ports import free_port
from tests.until import bounded, until

pytestmark = pytest.mark.slow

FEW, MANY = 1_000, 9_000
# What a question may take: its place in the answers file, and what Python does not give back.
MOST_BYTES = 4_000_000

PROGRAM = """
import resource, sys
from llava_serve.evaluate import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(code)
"""
ANSWER = bytes(events("yes").body)
MODELS = b'{"data": [{"id": "%s", "slots": 8}]}' % MODEL.encode()


async def answer_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    body = MODELS if scope["path"] == "/v1/models" else ANSWER
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def quick_server() -> AsyncIterator[str]:
    port = free_port()
    config = uvicorn.Config(answer_at_once, port=port, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


async def peak_bytes(folder: Path, count: int, address: str) -> int:
    lines = (
        image_line(number, f"{number % 3}.png", answer="yes", kind=str(number % 5))
        for number in range(count)
    )
    data = write_lines(folder / f"{count}.jsonl", lines)
    flags = ("--data", str(data), "--out", str(folder / f"run-{count}"), "--controller", address)
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "--task", "jsonl", *flags, "--images", "swapped"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    told, _ = await run.communicate()
    assert run.returncode == 0, told
    return int(told.rpartition(b"peak ")[2])


async def test_many_questions_take_no_more_memory_than_few(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", (32 + number, 32))
    async with quick_server() as address, bounded("both runs", 300):
        few = await peak_bytes(tmp_path, FEW, address)
        many = await peak_bytes(tmp_path, MANY, address)
    assert many - few < MOST_BYTES, (few, many)
