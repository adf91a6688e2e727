"""Instructor: typed answers about a picture, and an error."""

from typing import Literal

import instructor
import openai
import told
from pydantic import BaseModel


class Shape(BaseModel):
    color: Literal["red", "green", "blue"]
    is_round: bool


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
try:
    ask(model=told.NO_MODEL, messages=told.asked(), response_model=Shape, max_retries=0)
except Exception as error:
    cause = error
    while not isinstance(cause, openai.APIStatusError) and cause.__cause__ is not None:
        cause = cause.__cause__
    told.tell_error(cause)
