"""LangChain: an answer, a stream, a history, typed answers, an error and a cancel."""

from typing import Literal

import openai
import told
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Shape(BaseModel):
    color: Literal["red", "green", "blue"]


def chat(model: str, **fields) -> ChatOpenAI:
    return ChatOpenAI(
        model=model, base_url=f"{told.ADDRESS}/v1", api_key="none", max_retries=0, **fields
    )


greedy = chat(told.MODEL, temperature=0)
question = HumanMessage(told.asked()[0]["content"])
first = greedy.invoke([question])
told.tell_answer("chat", first.content)
told.tell_stream("stream", [chunk.content for chunk in greedy.stream([question])])
history = [question, AIMessage(first.content), HumanMessage(told.QUESTION)]
told.tell_answer("history", greedy.invoke(history).content)
typed = chat(told.MODEL, max_tokens=200).with_structured_output(Shape, method="json_schema")
told.tell("typed", fields=sorted(typed.invoke([question]).model_dump()))
try:
    chat(told.NO_MODEL).invoke([question])
except openai.NotFoundError as error:
    told.tell_error(error)
stream = chat(told.SLOW_MODEL).stream(told.LONG_QUESTION)
next(stream)
stream.close()
told.tell("cancel")
