"""LiteLLM: an answer, a stream, an error and a cancel."""

import litellm
import told

litellm.suppress_debug_info = True


def ask(model, messages, **fields):
    return litellm.completion(
        model=f"openai/{model}",
        messages=messages,
        api_base=f"{told.ADDRESS}/v1",
        api_key="none",
        num_retries=0,
        **fields,
    )


told.tell_answer("chat", ask(told.MODEL, told.asked(), temperature=0).choices[0].message.content)
chunks = ask(told.MODEL, told.asked(), temperature=0, stream=True)
told.tell_stream("stream", [chunk.choices[0].delta.content or "" for chunk in chunks])
try:
    ask(told.NO_MODEL, told.asked())
except litellm.NotFoundError as error:
    told.tell_error(error)
stream = ask(told.SLOW_MODEL, [{"role": "user", "content": told.LONG_QUESTION}], stream=True)
next(iter(stream))
stream.completion_stream.response.close()
told.tell("cancel")
