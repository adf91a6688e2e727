"""The `openai` package: both of its clients, typed answers, an error and a cancel."""

import asyncio
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


async def at_once() -> None:
    async with openai.AsyncOpenAI(base_url=BASE, api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=told.MODEL, messages=told.asked(), temperature=0, stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        told.tell_stream("async stream", pieces)


in_turn()
asyncio.run(at_once())
