"""Clients of other people, unmodified, in environments of their own, against the real stack."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import PICTURE, ClientStack
from tests.clients.node import run_node

pytestmark = [pytest.mark.slow, pytest.mark.clients]

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "programs"
ANSWER = "The circle is red."
# Which environment each program runs in, and what it tries.
PROGRAMS = {
    "openai_python": (
        "python",
        {"chat", "stream", "async stream", "typed", "tools", "error", "cancel"},
    ),
    "anthropic_python": ("python", {"messages", "stream", "tokens", "tools", "error", "cancel"}),
    "ollama_python": (
        "python",
        {"chat", "counts", "stream", "async stream", "generate", "typed"}
        | {"tools", "list", "show", "error", "cancel"},
    ),
    "litellm_client": ("python", {"chat", "stream", "error", "cancel"}),
    "langchain_client": (
        "python",
        {"chat", "stream", "history", "typed", "tools", "error", "cancel"},
    ),
    "llama_index_client": ("llama-index", {"chat", "stream", "completion", "error", "cancel"}),
    "pydantic_ai_client": ("python", {"chat", "stream", "typed", "tools", "error", "cancel"}),
    "instructor_client": ("python", {"typed", "tools", "error"}),
    "llm_client": ("python", {"chat", "stream", "error"}),
}
OF_NODE = {
    "ollama_npm": {"chat", "counts", "stream", "generate", "list", "show", "error", "cancel"},
    "ai_sdk_compatible": {"chat", "counts", "stream", "typed", "tools", "error", "cancel"},
    "ai_sdk_responses": {"tools", "error"},
}


def check(told: dict[str, dict[str, Any]], expected: set[str]) -> None:
    assert set(told) == expected
    assert all(facts["answer"] == ANSWER for facts in told.values() if "answer" in facts)
    assert all(facts["pieces"] > 1 for facts in told.values() if "pieces" in facts)
    assert "the model 'no-such-model' is not served here" in told["error"]["message"]
    assert "Ask GET /v1/models for the names" in told["error"]["message"]
    if "typed" in told:
        assert "color" in told["typed"]["fields"]
    if "tokens" in told:
        assert told["tokens"]["counted"] == told["tokens"]["used"] > 0
    if "tools" in told:
        check_tools(told["tools"])
    if "counts" in told:
        assert min(told["counts"]["used"], told["counts"]["made"]) > 0
    if "list" in told:
        assert told["list"]["models"] == ["llava-tiny", "slow", "tools"]
        assert "vision" in told["show"]["capabilities"]


def check_tools(told: dict[str, Any]) -> None:
    assert told["name"] in ("get_weather", "Weather")
    for arguments in (told["arguments"], told.get("streamed"), told.get("typed")):
        assert arguments in (None, {"city": "Kyoto"}, {"city": "Bonn"})
    assert set(told.get("reasons", ())) <= {"tool_calls", "tool_use", "tool-calls"}
    assert told.get("said", 1) > 0
    assert told.get("more_tokens", True)
    assert told.get("capable", True)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.asyncio(loop_scope="session")
async def test_a_client_works_unmodified(program: str, served: ClientStack) -> None:
    environment, expected = PROGRAMS[program]
    python = ROOT / f".venv-client-{environment}" / "bin" / "python"
    check(await served.run(python, HERE / f"{program}.py"), expected)
    await served.slow_is_idle()


@pytest.mark.parametrize("program", OF_NODE)
@pytest.mark.asyncio(loop_scope="session")
async def test_so_does_one_of_npm(program: str, served: ClientStack) -> None:
    told = await run_node(HERE / f"{program}.mjs", served.controller, str(PICTURE))
    check(told, OF_NODE[program])
    await served.slow_is_idle()


def test_every_program_is_tried() -> None:
    written = {path.stem for path in HERE.iterdir() if path.is_file()} - {"told"}
    assert written == {*PROGRAMS, *OF_NODE}
