"""Bodies hold what was asked, by SGLang's names, and images as pixels only."""

import base64
import io
import threading
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from llava_serve.chat.rendering import from_template
from llava_serve.chat.templates import template_named
from llava_serve.engines.sglang.client import Body
from llava_serve.engines.sglang.payload import (
    chat_body,
    check_seed,
    data_uri,
    encode,
    generate_body,
    ready_prompt,
)
from llava_serve.engines.sglang.served import Answers, Served, served_of
from llava_serve.errors import UnsupportedField
from llava_serve.media.decode import as_image
from llava_serve.request import Conversation, Message, ReadyPrompt, SamplingParams
from tests.engines.sglang.conftest import MODEL_INFO

RED = as_image(Image.new("RGB", (3, 2), "red"))
BLUE = as_image(Image.new("RGB", (2, 3), "blue"))
SERVED = served_of(
    Answers(
        address="http://s",
        model=MODEL_INFO,
        server={},
        models={"data": [{"id": "m", "max_model_len": 99}]},
        image_tokens=[3],
        has_template=True,
        shows_tools=False,
    ),
    None,
)
ORIGINAL = replace(SERVED, architecture="LlavaQwenForCausalLM")


def said(*parts: Any) -> Conversation:
    return Conversation((Message("user", parts),))


def chat_body_of(prompt: Conversation, sampling: SamplingParams, served: Served = SERVED) -> Body:
    return chat_body(prompt, encode(prompt, threading.Event()), sampling, served, "req-1-ab")


def generate_body_of(
    prompt: ReadyPrompt, sampling: SamplingParams, served: Served = SERVED
) -> Body:
    return generate_body(prompt, encode(prompt, threading.Event()), sampling, served, "req-1-ab")


def test_a_picture_travels_without_loss_as_a_data_uri() -> None:
    head, _, content = data_uri(RED).partition(",")
    assert head == "data:image/png;base64"
    assert as_image(Image.open(io.BytesIO(base64.b64decode(content)))).sha256 == RED.sha256


def test_messages_keep_their_order_and_texts_that_stand_together_become_one() -> None:
    body = chat_body_of(said("a", "b", RED, "c"), SamplingParams())
    (message,) = body["messages"]
    kinds = [part.get("text", part["type"]) for part in message["content"]]
    assert kinds == ["ab", "image_url", "c"]
    assert (body["rid"], body["stream"]) == ("req-1-ab", True)


def test_every_setting_has_its_name_on_each_route() -> None:
    sampling = SamplingParams(
        temperature=0.5,
        top_p=0.25,
        top_k=7,
        repetition_penalty=1.5,
        frequency_penalty=0.5,
        presence_penalty=1.0,
        seed=11,
        max_new_tokens=9,
        min_new_tokens=2,
        ignore_eos=True,
        stop=("x",),
        top_logprobs=2,
        json_schema='{"type": "object"}',
    )
    seeded = replace(SERVED, honours_seed=True)
    shared = {
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 7,
        "repetition_penalty": 1.5,
        "frequency_penalty": 0.5,
        "presence_penalty": 1.0,
        "ignore_eos": True,
        "stop": ["x"],
    }
    chat = chat_body_of(said("hi"), sampling, seeded)
    assert shared.items() <= chat.items()
    assert (chat["max_tokens"], chat["min_tokens"], chat["seed"]) == (9, 2, 11)
    assert (chat["logprobs"], chat["top_logprobs"]) == (True, 2)
    assert chat["response_format"]["json_schema"]["schema"] == {"type": "object"}
    body = generate_body_of(ReadyPrompt("hi"), sampling, seeded)
    params = body["sampling_params"]
    assert shared.items() <= params.items()
    assert (params["max_new_tokens"], params["min_new_tokens"]) == (9, 2)
    assert (params["sampling_seed"], params["json_schema"]) == (11, '{"type": "object"}')
    assert (body["return_logprob"], body["top_logprobs_num"]) == (True, 2)


def test_an_answer_without_a_limit_may_fill_the_context() -> None:
    body = generate_body_of(ReadyPrompt("hi"), SamplingParams())
    assert body["sampling_params"]["max_new_tokens"] is None  # left out, it would be 128


@pytest.mark.parametrize(("images", "announced"), [((RED,), False), ((RED, BLUE), True)])
def test_several_pictures_are_announced_to_models_of_the_original_layout(
    images: tuple[Any, ...], announced: bool
) -> None:
    chat = chat_body_of(said(*images, "?"), SamplingParams(), ORIGINAL)
    parts = chat["messages"][0]["content"][:-1]
    assert all((part.get("modalities") == "multi-images") is announced for part in parts)
    prompt = ReadyPrompt("<image>" * len(images), images)
    assert ("modalities" in generate_body_of(prompt, SamplingParams(), ORIGINAL)) is announced
    assert "modalities" not in generate_body_of(prompt, SamplingParams(), SERVED)


def test_a_seed_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(UnsupportedField, match="seed"):
        check_seed(SamplingParams(seed=1), SERVED)
    check_seed(SamplingParams(seed=1), replace(SERVED, honours_seed=True))
    check_seed(SamplingParams(seed=1, temperature=0), SERVED)
    check_seed(SamplingParams(), SERVED)
    assert "seed" not in chat_body_of(said("hi"), SamplingParams(seed=1, temperature=0))


def test_a_template_of_ours_makes_one_placeholder_for_each_picture() -> None:
    prompt = ready_prompt(said("what?", RED), from_template(template_named("vicuna_v1")))
    assert prompt.text.endswith("USER: <image>\nwhat? ASSISTANT:")
    assert prompt.images == (RED,)
