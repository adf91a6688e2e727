"""Instructor: typed answers as JSON and, in its default mode, by a call; an error."""

from typing import Literal

import instructor
import openai
import told
from pydantic import BaseModel


class Shape(BaseModel):
    color: Literal["red", "green", "blue"]
    is_round: bool


class Weather(BaseModel):
    """The weather of a city."""

    city: Literal["Kyoto", "Bonn"]


plain = openai.OpenAI(base_url=f"{told.ADDRESS}/v1", api_key="none", max_retries=0)
client = instructor.from_openai(plain, mode=instructor.Mode.JSON_SCHEMA)
ask = client.chat.completions.create
shape = ask(
    model=told.MODEL,
    messages=told.asked(),
    response_model=Shape,
    max_retries=0,
    max_tokens=200,
)
told.tell("typed", fields=sorted(shape.model_dump()))
weather = instructor.from_openai(plain).chat.completions.create(
    model=told.TOOL_MODEL,
    messages=[{"role": "user", "content": told.WEATHER_QUESTION}],
    response_model=Weather,
    max_retries=0,
    max_tokens=200,
)
told.tell_tools("Weather", weather.model_dump())
try:
    ask(model=told.NO_MODEL, messages=told.asked(), response_model=Shape, max_retries=0)
except Exception as error:
    cause = error
    while not isinstance(cause, openai.APIStatusError) and cause.__cause__ is not None:
        cause = cause.__cause__
    told.tell_error(cause)
