"""Answers with calls, by an engine that follows a script."""

from typing import Any

from llava_serve.request import Conversation, Delta, FinishReason, Usage
from llava_serve.tools import Tool, ToolCallDelta
from tests.worker.conftest import ScriptedEngine, Step

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", SCHEMA, "The weather of a city.")
FIRST = (
    Delta(tool_calls=(ToolCallDelta(0, '{"city": "', "abcdefghi", "get_weather"),)),
    Delta(tool_calls=(ToolCallDelta(0, 'Kyoto"}'),)),
)
SECOND = Delta(tool_calls=(ToolCallDelta(1, "{}", "ihgfedcba", "get_time"),))
CALLING: tuple[Step, ...] = ("Let me see.", *FIRST, SECOND)


def end(reason: FinishReason = "tool_calls", stop: str | None = None) -> Delta:
    return Delta(finish_reason=reason, usage=Usage(5, 7), stop=stop)


def caller(*script: Step) -> ScriptedEngine:
    """Return an engine whose model may be shown tools."""
    engine = ScriptedEngine(*script)
    engine.card = engine.card.model_copy(update={"supported_params": ["tools"]})
    return engine


def shown(engine: ScriptedEngine) -> list[Any]:
    """Return the turns that the engine was asked with last, each as short as it can be said."""
    prompt = engine.asked[-1].prompt
    assert isinstance(prompt, Conversation)
    turns = []
    for message in prompt.messages:
        said = "".join(part if isinstance(part, str) else "<image>" for part in message.parts)
        calls = [(call.id, call.name, call.arguments) for call in message.tool_calls]
        about = calls or message.tool_call_id
        turns.append((message.role, said, about) if about else (message.role, said))
    return turns


def tools_of(engine: ScriptedEngine) -> tuple[Tool, ...]:
    """Return the tools that it was asked with."""
    prompt = engine.asked[-1].prompt
    assert isinstance(prompt, Conversation)
    return prompt.tools
