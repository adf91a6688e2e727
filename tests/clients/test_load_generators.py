"""Load generators of other people: every request succeeds, and they count tokens as is answered."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from llava_serve import tiny
from tests.clients.conftest import ClientStack
from tests.until import bounded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.clients,
    pytest.mark.asyncio(loop_scope="session"),
]

ROOT = Path(__file__).parents[2]
REQUESTS, AT_ONCE = 20, 4
_PATIENCE_S = 400  # they start a dozen processes, and import much in each


async def run(environment: str, *arguments: str, cwd: Path, **variables: str) -> None:
    """Run the program that an environment is named after."""
    program = ROOT / f".venv-client-{environment}" / "bin" / environment
    assert program.exists(), f"first: bash scripts/clients_env.sh python3 {environment}"
    process = await asyncio.create_subprocess_exec(
        str(program),
        *arguments,
        cwd=cwd,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with bounded(f"the end of {environment}", _PATIENCE_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out.decode(errors="replace")[-4000:]


async def usage_of(controller: str, body: dict[str, Any]) -> tuple[int, int]:
    """Ask the same again, without a stream; return the tokens of the prompt and of the answer."""
    again = {name: value for name, value in body.items() if name != "stream_options"}
    async with httpx.AsyncClient(base_url=controller, trust_env=False, timeout=120) as http:
        answer = await http.post("/v1/chat/completions", json={**again, "stream": False})
    usage = answer.raise_for_status().json()["usage"]
    return usage["prompt_tokens"], usage["completion_tokens"]


async def test_guidellm_counts_what_is_answered(served: ClientStack, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    await run(
        *("guidellm", "run", "--disable-console"),
        *("--backend", f"kind=openai_http,target={served.controller},model=llava-tiny"),
        *("--profile", f"kind=concurrent,streams={AT_ONCE}"),
        *("--constraint", f"kind=max_requests,count={REQUESTS}"),
        *("--tokenizer", f"kind=hf_auto,model={tiny.CHECKPOINT}"),
        *("--data", "kind=synthetic_text,prompt_tokens=40,output_tokens=16"),
        *("--output", f"kind=json,path={report}"),
        cwd=tmp_path,
        HF_HUB_OFFLINE="1",
    )
    (benchmark,) = json.loads(report.read_text("utf-8"))["benchmarks"]
    asked = benchmark["requests"]
    assert [len(asked[kind]) for kind in ("successful", "errored", "incomplete")] == [
        REQUESTS,
        0,
        0,
    ]
    for one in asked["successful"]:
        told = await usage_of(served.controller, json.loads(one["request_args"])["body"])
        assert (one["prompt_tokens"], one["output_tokens"]) == told


async def test_aiperf_counts_what_is_answered_about_pictures(
    served: ClientStack, tmp_path: Path
) -> None:
    await run(
        *("aiperf", "profile", "--url", served.controller, "--model", "llava-tiny"),
        *("--endpoint-type", "chat", "--streaming", "--use-server-token-count"),
        *("--tokenizer", str(tiny.CHECKPOINT), "--random-seed", "1", "--ui", "none"),
        *("--concurrency", str(AT_ONCE), "--request-count", str(REQUESTS)),
        *("--image-width-mean", "96", "--image-height-mean", "96"),
        *("--synthetic-input-tokens-mean", "20", "--output-tokens-mean", "12"),
        *("--artifact-dir", str(tmp_path)),
        cwd=tmp_path,
    )
    bodies = {
        session["session_id"]: session["payloads"][0]
        for session in json.loads((tmp_path / "inputs.json").read_text("utf-8"))["data"]
    }
    lines = (tmp_path / "profile_export.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == REQUESTS
    assert [one["error"] for one in records if one.get("error")] == []
    for one in records:
        counted = {name: metric["value"] for name, metric in one["metrics"].items()}
        told = await usage_of(served.controller, bodies[one["metadata"]["conversation_id"]])
        assert (counted["input_sequence_length"], counted["output_sequence_length"]) == told
        assert counted["num_images"] == 1
