"""Pydantic AI: an answer, a stream, typed answers, also by a call, an error and a cancel."""

import asyncio
from typing import Literal

import told
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

question = [told.QUESTION, BinaryContent(data=told.PICTURE.read_bytes(), media_type="image/png")]
provider = OpenAIProvider(base_url=f"{told.ADDRESS}/v1", api_key="none")


class Shape(BaseModel):
    color: Literal["red", "green", "blue"]


class Weather(BaseModel):
    """The weather of a city."""

    city: Literal["Kyoto", "Bonn"]


def agent(model: str, **fields) -> Agent:
    return Agent(OpenAIChatModel(model, provider=provider), retries=0, **fields)


async def main() -> None:
    greedy = agent(told.MODEL, model_settings={"temperature": 0.0})
    told.tell_answer("chat", (await greedy.run(question)).output)
    async with greedy.run_stream(question) as answer:
        pieces = [piece async for piece in answer.stream_text(delta=True, debounce_by=None)]
    told.tell_stream("stream", pieces)
    typed = agent(told.MODEL, output_type=NativeOutput(Shape), model_settings={"max_tokens": 200})
    told.tell("typed", fields=sorted((await typed.run(question)).output.model_dump()))
    by_call = agent(told.TOOL_MODEL, output_type=Weather, model_settings={"max_tokens": 200})
    weather = (await by_call.run(told.WEATHER_QUESTION)).output
    told.tell_tools("Weather", weather.model_dump())
    try:
        await agent(told.NO_MODEL).run(question)
    except ModelHTTPError as error:
        told.tell_error(error)
    async with agent(told.SLOW_MODEL).run_stream(told.LONG_QUESTION) as answer:
        async for _ in answer.stream_text(delta=True, debounce_by=None):
            break
    told.tell("cancel")


asyncio.run(main())
