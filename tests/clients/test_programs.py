"""Clients of other people, unmodified, in environments of their own, against the real stack."""

from pathlib import Path

import pytest

from tests.clients.conftest import ClientStack

pytestmark = [pytest.mark.slow, pytest.mark.clients]

ROOT = Path(__file__).parents[2]
ANSWER = "The circle is red."
# Which environment each program runs in, and what it tries.
PROGRAMS = {
    "openai_python": ("python", {"chat", "stream", "async stream", "typed", "error", "cancel"}),
    "anthropic_python": ("python", {"messages", "stream", "tokens", "error", "cancel"}),
    "litellm_client": ("python", {"chat", "stream", "error", "cancel"}),
    "langchain_client": ("python", {"chat", "stream", "history", "typed", "error", "cancel"}),
    "llama_index_client": ("llama-index", {"chat", "stream", "completion", "error", "cancel"}),
    "pydantic_ai_client": ("python", {"chat", "stream", "typed", "error", "cancel"}),
    "instructor_client": ("python", {"typed", "error"}),
    "llm_client": ("python", {"chat", "stream", "error"}),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.asyncio(loop_scope="session")
async def test_a_client_works_unmodified(program: str, served: ClientStack) -> None:
    environment, expected = PROGRAMS[program]
    python = ROOT / f".venv-client-{environment}" / "bin" / "python"
    told = await served.run(python, Path(__file__).parent / "programs" / f"{program}.py")
    assert set(told) == expected
    assert all(facts["answer"] == ANSWER for facts in told.values() if "answer" in facts)
    assert all(facts["pieces"] > 1 for facts in told.values() if "pieces" in facts)
    assert "the model 'no-such-model' is not served here" in told["error"]["message"]
    assert "Ask GET /v1/models for the names" in told["error"]["message"]
    if "typed" in told:
        assert "color" in told["typed"]["fields"]
    if "tokens" in told:
        assert told["tokens"]["counted"] == told["tokens"]["used"] > 0
    await served.slow_is_idle()


def test_every_program_is_tried() -> None:
    written = {path.stem for path in (Path(__file__).parent / "programs").glob("*_*.py")}
    assert written == set(PROGRAMS)
