"""The `ollama` package: both clients, typed answers, tools, the models, an error and a cancel."""

import asyncio
from typing import Literal

import ollama
import told
from pydantic import BaseModel


class Shape(BaseModel):
    color: Literal["red", "green", "blue"]
    is_round: bool


GREEDY = {"temperature": 0, "num_ctx": 2048, "seed": 1}
ASKED = {
    "model": f"{told.MODEL}:latest",
    "messages": [{"role": "user", "content": told.QUESTION, "images": [told.PICTURE]}],
    "options": GREEDY,
}


def in_turn() -> None:
    client = ollama.Client(told.ADDRESS)
    whole = client.chat(**ASKED)
    told.tell_answer("chat", whole.message.content)
    told.tell("counts", used=whole.prompt_eval_count, made=whole.eval_count)
    lines = client.chat(**ASKED, stream=True)
    told.tell_stream("stream", [line.message.content or "" for line in lines])
    generated = client.generate(
        told.MODEL, told.QUESTION, images=[told.PICTURE_BASE64], options=GREEDY, keep_alive="5m"
    )
    told.tell_answer("generate", generated.response)
    typed = client.chat(**ASKED, format=Shape.model_json_schema())
    shape = Shape.model_validate_json(typed.message.content)
    told.tell("typed", fields=sorted(shape.model_dump()))
    shown = client.show(told.MODEL)
    told.tell("list", models=[model.model for model in client.list().models])
    told.tell("show", capabilities=shown.capabilities)
    try:
        client.chat(told.NO_MODEL, ASKED["messages"])
    except ollama.ResponseError as error:
        told.tell_error(error)
    stream = client.chat(
        told.SLOW_MODEL, [{"role": "user", "content": told.LONG_QUESTION}], stream=True
    )
    next(stream)
    stream.close()
    told.tell("cancel")


def with_tools() -> None:
    client = ollama.Client(told.ADDRESS)
    call = ollama.Message.ToolCall.Function(name="get_weather", arguments={"city": "Kyoto"})
    called = ollama.Message(role="assistant", tool_calls=[ollama.Message.ToolCall(function=call)])
    function = {"name": "get_weather", "description": "Weather.", "parameters": told.CITIES}
    messages = [
        {"role": "user", "content": told.WEATHER_QUESTION},
        called,
        {"role": "tool", "tool_name": "get_weather", "content": "Sunny."},
    ]
    tools = [{"type": "function", "function": function}]
    options = {"num_predict": 40}
    after = client.chat(told.TOOL_MODEL, messages, tools=tools, options=options)
    told.tell_tools(
        call.name,
        dict(call.arguments),
        said=len(after.message.content),
        capable="tools" in client.show(told.TOOL_MODEL).capabilities,
    )


async def at_once() -> None:
    async with ollama.AsyncClient(told.ADDRESS) as client:
        stream = await client.chat(**ASKED, stream=True)
        pieces = [line.message.content or "" async for line in stream]
        told.tell_stream("async stream", pieces)


in_turn()
with_tools()
asyncio.run(at_once())
