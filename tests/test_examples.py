"""The examples of the API run as they stand, and the second question has the first in its past."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.request import Conversation
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker

EXAMPLES = sorted((Path(__file__).parents[1] / "scripts" / "examples").glob("*.py"))


class Recording(EchoEngine):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.asked: list[Any] = []

    def stream(self, request: Any) -> Any:
        self.asked.append(request.prompt)
        return super().stream(request)


async def run(example: Path, address: str) -> tuple[int | None, list[str], str]:
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(example),
        address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await program.communicate()
    return program.returncode, out.decode().splitlines(), errors.decode()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
async def test_an_example_runs_and_its_answers_come_back(example: Path) -> None:
    engine = Recording()
    worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id="this-one")
    async with served(build_app(worker, max_body_bytes=1_000_000)) as address:
        code, answers, errors = await run(example, address)
    assert (code, errors) == (0, "")
    first, second = engine.asked
    assert isinstance(second, Conversation)
    assert [message.role for message in second.messages] == ["user", "assistant", "user"]
    assert second.messages[0] == first.messages[0]
    assert second.messages[1].parts == (answers[0],)
    assert "What color is the circle?" in answers[1]
