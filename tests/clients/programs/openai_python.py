"""The `openai` package: both of its clients, typed answers, tools, an error and a cancel."""

import asyncio
import json
from typing import Literal

import openai
import told
from pydantic import BaseModel

BASE = f"{told.ADDRESS}/v1"


class Shape(BaseModel):
    color: Literal["red", "green", "blue"]
    is_round: bool


def in_turn() -> None:
    client = openai.OpenAI(base_url=BASE, api_key="none", max_retries=0)
    ask = client.chat.completions.create
    told.tell_answer(
        "chat",
        ask(model=told.MODEL, messages=told.asked(), temperature=0).choices[0].message.content,
    )
    chunks = ask(model=told.MODEL, messages=told.asked(), temperature=0, stream=True)
    told.tell_stream("stream", [chunk.choices[0].delta.content or "" for chunk in chunks])
    parsed = client.chat.completions.parse(
        model=told.MODEL, messages=told.asked(), response_format=Shape, max_tokens=200
    )
    told.tell("typed", fields=sorted((parsed.choices[0].message.parsed or {}).model_dump()))
    try:
        ask(model=told.NO_MODEL, messages=told.asked())
    except openai.NotFoundError as error:
        told.tell_error(error)
    with ask(
        model=told.SLOW_MODEL,
        messages=[{"role": "user", "content": told.LONG_QUESTION}],
        stream=True,
    ) as stream:
        next(iter(stream))
    told.tell("cancel")


def with_tools() -> None:
    ask = openai.OpenAI(base_url=BASE, api_key="none", max_retries=0).chat.completions
    function = {"name": "get_weather", "description": "Weather.", "parameters": told.CITIES}
    messages = [{"role": "user", "content": told.WEATHER_QUESTION}]
    fields = {
        "model": told.TOOL_MODEL,
        "max_tokens": 200,
        "tools": [{"type": "function", "function": function}],
        "parallel_tool_calls": False,
    }
    called = ask.create(**fields, messages=messages, tool_choice="required").choices[0]
    (call,) = called.message.tool_calls
    named = {"type": "function", "function": {"name": "get_weather"}}
    with ask.stream(**fields, messages=messages, tool_choice=named) as stream:
        streamed = stream.get_final_completion().choices[0]
    messages += [
        called.message,
        {"role": "tool", "tool_call_id": call.id, "content": "Sunny."},
    ]
    after = ask.create(**fields, messages=messages, tool_choice="none").choices[0]
    told.tell_tools(
        call.function.name,
        json.loads(call.function.arguments),
        reasons=[called.finish_reason, streamed.finish_reason],
        streamed=json.loads(streamed.message.tool_calls[0].function.arguments),
        said=len(after.message.content),
    )


async def at_once() -> None:
    async with openai.AsyncOpenAI(base_url=BASE, api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=told.MODEL, messages=told.asked(), temperature=0, stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        told.tell_stream("async stream", pieces)


in_turn()
with_tools()
asyncio.run(at_once())
