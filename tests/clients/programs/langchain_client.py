"""LangChain: an answer, a stream, a history, typed answers, tools, an error and a cancel."""

from typing import Literal

import openai
import told
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Shape(BaseModel):
    color: Literal["red", "green", "blue"]


class Weather(BaseModel):
    """The weather of a city."""

    city: Literal["Kyoto", "Bonn"]


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
calling = chat(told.TOOL_MODEL, max_tokens=200)
bound = calling.bind_tools([Weather], tool_choice="any", parallel_tool_calls=False)
asking = HumanMessage(told.WEATHER_QUESTION)
called = bound.invoke([asking])
(call,) = called.tool_calls
streamed = None
for chunk in bound.stream([asking]):
    streamed = chunk if streamed is None else streamed + chunk
after = calling.invoke([asking, called, ToolMessage("Sunny.", tool_call_id=call["id"])])
by_call = calling.with_structured_output(Weather, method="function_calling")
told.tell_tools(
    call["name"],
    call["args"],
    streamed=streamed.tool_calls[0]["args"],
    typed=by_call.invoke([asking]).model_dump(),
    said=len(after.content),
)
try:
    chat(told.NO_MODEL).invoke([question])
except openai.NotFoundError as error:
    told.tell_error(error)
stream = chat(told.SLOW_MODEL).stream(told.LONG_QUESTION)
next(stream)
stream.close()
told.tell("cancel")
