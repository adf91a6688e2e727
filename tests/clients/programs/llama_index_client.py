"""LlamaIndex: an answer and a stream about a picture, plain completion, an error and a cancel."""

import openai
import told
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.openai_like import OpenAILike


def llm(model: str, *, is_chat: bool = True) -> OpenAILike:
    return OpenAILike(
        model=model,
        api_base=f"{told.ADDRESS}/v1",
        api_key="none",
        is_chat_model=is_chat,
        context_window=1000,
        max_retries=0,
        temperature=0,
        max_tokens=60,
    )


blocks = [
    ImageBlock(image=told.PICTURE.read_bytes(), image_mimetype="image/png"),
    TextBlock(text=told.QUESTION),
]
question = [ChatMessage(role="user", blocks=blocks)]
told.tell_answer("chat", llm(told.MODEL).chat(question).message.content)
pieces = [chunk.delta or "" for chunk in llm(told.MODEL).stream_chat(question)]
told.tell_stream("stream", pieces)
text = llm(told.MODEL, is_chat=False).complete("The circle is").text
told.tell("completion", length=len(text))
try:
    llm(told.NO_MODEL).chat(question)
except openai.NotFoundError as error:
    told.tell_error(error)
stream = llm(told.SLOW_MODEL).stream_chat([ChatMessage(role="user", content=told.LONG_QUESTION)])
next(stream)
stream.close()
told.tell("cancel")
