"""The `anthropic` package: an answer, a stream, counted tokens, tools, an error and a cancel."""

import anthropic
import told

client = anthropic.Anthropic(base_url=told.ADDRESS, api_key="none", max_retries=0)
source = {"type": "base64", "media_type": "image/png", "data": told.PICTURE_BASE64}
content = [{"type": "image", "source": source}, {"type": "text", "text": told.QUESTION}]
asked = {"model": told.MODEL, "messages": [{"role": "user", "content": content}]}
greedy = {"temperature": 0}  # beyond what this version of the package names

message = client.messages.create(**asked, max_tokens=60, extra_body=greedy)
told.tell_answer("messages", message.content[0].text)
with client.messages.stream(**asked, max_tokens=60, extra_body=greedy) as stream:
    told.tell_stream("stream", list(stream.text_stream))
counted = client.messages.count_tokens(**asked).input_tokens
usage = message.usage
told.tell("tokens", counted=counted, used=usage.input_tokens + usage.cache_read_input_tokens)
tools = [{"name": "get_weather", "description": "Weather.", "input_schema": told.CITIES}]
asked = {"model": told.TOOL_MODEL, "max_tokens": 200, "tools": tools}
question = {"role": "user", "content": told.WEATHER_QUESTION}
one = {"disable_parallel_tool_use": True}
called = client.messages.create(**asked, messages=[question], tool_choice={"type": "any", **one})
choice = {"type": "tool", "name": "get_weather", **one}
with client.messages.stream(**asked, messages=[question], tool_choice=choice) as stream:
    streamed = stream.get_final_message()
(call,) = called.content
result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny."}
messages = [
    question,
    {"role": "assistant", "content": called.content},
    {"role": "user", "content": [result]},
]
after = client.messages.create(**asked, messages=messages, tool_choice={"type": "none"})
without = client.messages.count_tokens(model=told.TOOL_MODEL, messages=messages[:1])
counted = client.messages.count_tokens(model=told.TOOL_MODEL, messages=messages, tools=tools)
told.tell_tools(
    call.name,
    call.input,
    reasons=[called.stop_reason, streamed.stop_reason],
    streamed=streamed.content[0].input,
    said=len(after.content[0].text),
    more_tokens=counted.input_tokens > without.input_tokens,
)
try:
    client.messages.create(model=told.NO_MODEL, messages=[question], max_tokens=60)
except anthropic.NotFoundError as error:
    told.tell_error(error)
with client.messages.stream(
    model=told.SLOW_MODEL,
    messages=[{"role": "user", "content": told.LONG_QUESTION}],
    max_tokens=2000,
) as stream:
    next(iter(stream.text_stream))
told.tell("cancel")
