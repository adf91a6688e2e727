"""The stored renderings follow LLaVA's `Conversation.get_prompt` for the same turns."""

import pytest

from llava_serve.chat.choosing import template_for
from llava_serve.chat.templates import TEMPLATES, Turn, template_named

TURNS: list[Turn] = [
    ("user", "<image>\nWhat is it?"),
    ("assistant", "A cat."),
    ("user", "Sure?"),
    ("assistant", None),
]

HUMAN = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
VISION = (
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language."
)
TAGGED = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant is able "
    "to understand the visual content that the user provides, and assist the user with a variety "
    "of tasks using natural language.The visual content will be provided with the following "
    "format: <Image>visual content</Image>."
)
HARMLESS = (
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, "
    "while being safe.  Your answers should not include any harmful, unethical, racist, sexist, "
    "toxic, dangerous, or illegal content. Please ensure that your responses are socially unbiased "
    "and positive in nature.\n\nIf a question does not make any sense, or is not factually "
    "coherent, explain why instead of answering something not correct. If you don't know the "
    "answer to a question, please don't share false information."
)
EXPECTED = {
    "vicuna_v1": (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. "
        "USER: <image>\nWhat is it? ASSISTANT: A cat.</s>USER: Sure? ASSISTANT:"
    ),
    "llava_v1": f"{HUMAN} USER: <image>\nWhat is it? ASSISTANT: A cat.</s>USER: Sure? ASSISTANT:",
    "llava_v0": (
        f"{HUMAN}###Human: <image>\nWhat is it?###Assistant: A cat.###Human: Sure?###Assistant:"
    ),
    "v0_mmtag": (
        f"{TAGGED}###Human: <image>\nWhat is it?###Assistant: A cat.###Human: Sure?###Assistant:"
    ),
    "v1_mmtag": f"{TAGGED} USER: <image>\nWhat is it? ASSISTANT: A cat.</s>USER: Sure? ASSISTANT:",
    "llama_2": (
        f"[INST] <<SYS>>\n{HARMLESS}\n<</SYS>>\n\n<image>\nWhat is it? [/INST] A cat. </s>"
        "<s>[INST] Sure? [/INST]"
    ),
    "plain": "<image>\nWhat is it?\nA cat.\nSure?\n",
    "mistral_instruct": "[INST] <image>\nWhat is it? [/INST] A cat. </s>[INST] Sure? [/INST]",
    "llava_llama_2": (
        f"[INST] <<SYS>>\n{VISION}\n<</SYS>>\n\n<image>\nWhat is it? [/INST] A cat. </s>"
        "<s>[INST] Sure? [/INST]"
    ),
    "chatml_direct": (
        "<|im_start|>system\nAnswer the questions.<|im_end|>"
        "<|im_start|>user\n<image>\nWhat is it?<|im_end|>"
        "<|im_start|>assistant\nA cat.<|im_end|>"
        "<|im_start|>user\nSure?<|im_end|><|im_start|>assistant\n"
    ),
    "mpt": (
        "<|im_start|>system\nA conversation between a user and an LLM-based AI assistant. "
        "The assistant gives helpful and honest answers.<|im_end|>"
        "<|im_start|>user\n<image>\nWhat is it?<|im_end|>"
        "<|im_start|>assistant\nA cat.<|im_end|>"
        "<|im_start|>user\nSure?<|im_end|><|im_start|>assistant\n"
    ),
    "qwen_1_5": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<image>\nWhat is it?<|im_end|>\n"
        "<|im_start|>assistant\nA cat.<|im_end|>\n"
        "<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n"
    ),
    "llava_llama_3": (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{VISION}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n<image>\nWhat is it?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA cat.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nSure?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
}


def test_every_template_has_a_stored_rendering() -> None:
    assert set(EXPECTED) == set(TEMPLATES)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_template_renders_what_is_stored(name: str) -> None:
    template = template_named(name)
    assert template.render(template, template.system, TURNS) == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vicuna_v1", "Be brief. USER: hi ASSISTANT:"),
        ("llava_v0", "Be brief.###Human: hi###Assistant:"),
        ("mistral_instruct", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nhi [/INST]"),
        (
            "qwen_1_5",
            "<|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
        ),
    ],
)
def test_a_system_message_takes_the_place_of_the_template_s_own(name: str, expected: str) -> None:
    template = template_named(name)
    assert template.render(template, "Be brief.", [("user", "hi"), ("assistant", None)]) == expected


def test_an_empty_system_message_leaves_no_trace_in_qwen_1_5() -> None:
    template = template_named("qwen_1_5")
    rendered = template.render(template, "", [("user", "hi"), ("assistant", None)])
    assert rendered == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"model_type": "llava_llama", "vocab_size": 32000}, "vicuna_v1"),
        ({"model_type": "llava_llama", "vocab_size": 64000}, "chatml_direct"),
        ({"model_type": "llava_llama", "vocab_size": 128256}, "llava_llama_3"),
        ({"model_type": "llava_mistral"}, "mistral_instruct"),
        ({"model_type": "llava_qwen"}, "qwen_1_5"),
        ({"model_type": "llava_mpt"}, "mpt"),
        ({"model_type": "llava", "text_config": {"model_type": "qwen2"}}, "qwen_1_5"),
    ],
)
def test_the_template_follows_from_the_config(config: dict[str, object], name: str) -> None:
    template, reason = template_for(config)
    assert template.name == name
    assert reason


def test_an_unknown_language_model_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"type 'gpt2'.*--conv-mode: vicuna_v1"):
        template_for({"model_type": "llava", "text_config": {"model_type": "gpt2"}})


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'vicuna_v9'; known: vicuna_v1"):
        template_named("vicuna_v9")
