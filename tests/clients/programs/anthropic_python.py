"""The `anthropic` package: an answer, a stream, counted tokens, an error and a cancel."""

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
try:
    client.messages.create(**{**asked, "model": told.NO_MODEL}, max_tokens=60)
except anthropic.NotFoundError as error:
    told.tell_error(error)
with client.messages.stream(
    model=told.SLOW_MODEL,
    messages=[{"role": "user", "content": told.LONG_QUESTION}],
    max_tokens=1000,
) as stream:
    next(iter(stream.text_stream))
told.tell("cancel")
