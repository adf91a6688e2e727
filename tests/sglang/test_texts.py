"""Through SGLang texts go on, and prompts become tokens: counted as its answers count them."""

from typing import Any

import openai
import pytest

from tests.sglang.conftest import Stack, user

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

TEXT = "What color is the"


async def post(stack: Stack, path: str, **body: Any) -> Any:
    async with stack.http.post(stack.controller + path, json={"model": "llava-tiny"} | body) as got:
        return await got.json()


async def test_a_text_goes_on_with_logprobs(stack: Stack) -> None:
    asked: Any = {"model": "llava-tiny", "prompt": TEXT, "max_tokens": 6, "temperature": 0}
    whole = await stack.openai.completions.create(**asked, logprobs=2)
    stream = await stack.openai.completions.create(**asked, stream=True, echo=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    (choice,) = whole.choices
    assert text == TEXT + choice.text
    assert choice.logprobs is not None and choice.logprobs.tokens is not None
    assert "".join(choice.logprobs.tokens) == choice.text
    assert whole.usage is not None
    tokens = await post(stack, "/tokenize", prompt=TEXT)
    assert tokens["count"] == whole.usage.prompt_tokens


async def test_several_texts_and_their_tokens_go_on_alike(stack: Stack) -> None:
    texts = [TEXT, "Which number is"]
    tokens = [(await post(stack, "/tokenize", prompt=text))["tokens"] for text in texts]
    asked: Any = {"model": "llava-tiny", "max_tokens": 6, "temperature": 0}
    of_texts = await stack.openai.completions.create(**asked, prompt=texts)
    of_tokens = await stack.openai.completions.create(**asked, prompt=tokens, echo=True)
    assert [choice.index for choice in of_tokens.choices] == [0, 1]
    for text, one, same in zip(texts, of_texts.choices, of_tokens.choices, strict=True):
        assert same.text.endswith(text + one.text)
    with pytest.raises(openai.BadRequestError, match="99999"):
        await stack.openai.completions.create(**asked, prompt=[99_999])


async def test_a_prompt_becomes_tokens_and_a_text_again(stack: Stack) -> None:
    messages = user({"type": "text", "text": TEXT})
    answer = await post(stack, "/v1/chat/completions", messages=messages, max_tokens=1)
    told = await post(stack, "/tokenize", messages=messages)
    assert told["count"] == answer["usage"]["prompt_tokens"]
    text = await post(stack, "/detokenize", tokens=told["tokens"])
    assert TEXT in text["prompt"]
