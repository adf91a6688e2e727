"""One trace through real processes: a client, a controller, a worker and the steps of its model."""

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from llava_serve.client import ChatClient
from llava_serve.tiny import CHECKPOINT
from llava_serve.tracing.span import open_tracer
from tests.ports import free_ports
from tests.tracing.receiver import Receiver

pytestmark = pytest.mark.slow


async def test_a_trace_reaches_the_steps_of_a_real_model(tmp_path: Path) -> None:
    port = free_ports(2)
    ports = ["--controller-port", str(port), "--worker-port", str(port + 1), "--no-web"]
    log = tmp_path / "log"
    async with Receiver().receiving() as receiver:
        given = ["--model", f"{CHECKPOINT}=tiny", "--otlp-endpoint", receiver.address]
        with log.open("w") as err:
            launch = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "llava_serve.launch", "--state-dir", str(tmp_path)),
                *(*ports, *given),
                stdout=asyncio.subprocess.PIPE,
                stderr=err,
            )
        assert launch.stdout is not None
        try:
            assert await launch.stdout.readline(), log.read_text()  # it greets once all is ready
            tracer = open_tracer(receiver.address, "page")
            async with tracer.running(), aiohttp.ClientSession(trust_env=False) as session:
                client = ChatClient(f"http://127.0.0.1:{port}", session, tracer=tracer)
                messages = [{"role": "user", "content": "What can you see?"}]
                body = {"model": "tiny", "messages": messages, "temperature": 0}
                chunks = [chunk async for chunk in client.stream(body)]
        finally:
            launch.send_signal(signal.SIGTERM)
            await launch.communicate()
    assert chunks
    client_side, controller, worker = (
        receiver.named("chat tiny", service) for service in ("page", "controller", "worker")
    )
    assert len({one.trace_id for one in receiver.spans}) == 1
    assert controller.parent_id == client_side.span_id
    assert worker.parent_id == controller.span_id
    stages = {one.name: one for one in receiver.children(worker)}
    assert stages.keys() >= {"queue", "prefill", "decode"}
    assert worker.began_ns < stages["prefill"].began_ns < stages["decode"].began_ns
    assert worker.attributes["gen_ai.usage.output_tokens"] > 1
