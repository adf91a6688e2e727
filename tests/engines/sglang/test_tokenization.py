"""An SGLang server tokenises texts and messages; what it does not tell is refused by name."""

import PIL.Image
import pytest

from llava_serve.chat.rendering import from_template
from llava_serve.chat.templates import template_named
from llava_serve.errors import UnsupportedField
from llava_serve.request import (
    Conversation,
    DetokenizeRequest,
    Image,
    Message,
    ReadyPrompt,
    TokenizeRequest,
)
from tests.engines.sglang.conftest import Listening, Recorded
from tests.engines.sglang.test_engine import HELLO, engine_of


async def test_texts_and_messages_are_passed_on(listening: Listening, recorded: Recorded) -> None:
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        recorded.tokenized.clear()
        text = TokenizeRequest(prompt=ReadyPrompt("hi"), adds_special_tokens=False)
        told = await engine.tokenize(text)
        assert (told.count, told.max_model_len, told.token_strs) == (len(told.tokens), 2048, None)
        await engine.tokenize(TokenizeRequest(prompt=HELLO))
        begun = Conversation((*HELLO.messages, Message("assistant", ("so",)))).continued()
        await engine.tokenize(TokenizeRequest(prompt=begun))
        told_text = await engine.detokenize(DetokenizeRequest((1, 2)))
    first, second, third = recorded.tokenized
    assert first == {"prompt": "hi", "add_special_tokens": False}
    assert [message["role"] for message in second["messages"]] == ["user"]
    assert (third["continue_final_message"], third["messages"][-1]["content"]) == (True, "so")
    assert told_text.prompt.endswith("so")


async def test_messages_of_a_template_of_ours_are_a_text(
    listening: Listening, recorded: Recorded
) -> None:
    form = from_template(template_named("vicuna_v1"))
    async with listening(recorded) as endpoint, engine_of(endpoint, form) as engine:
        recorded.tokenized.clear()
        await engine.tokenize(TokenizeRequest(prompt=HELLO))
    (asked,) = recorded.tokenized
    assert asked["prompt"].endswith("USER: hello ASSISTANT:")


async def test_pictures_and_strings_are_refused_by_name(
    listening: Listening, recorded: Recorded
) -> None:
    image = Image(PIL.Image.new("RGB", (2, 2)), "sha")
    shown = Conversation((Message("user", (image, "what?")),))
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        with pytest.raises(UnsupportedField, match="messages holds pictures"):
            await engine.tokenize(TokenizeRequest(prompt=shown))
        with pytest.raises(UnsupportedField, match="return_token_strs"):
            await engine.tokenize(TokenizeRequest(prompt=HELLO, with_strings=True))
