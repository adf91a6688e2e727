"""A prompt to go on with is the past of the same conversation, cut behind its last words."""

import json
from collections.abc import Callable
from functools import cache, partial

import PIL.Image
import pytest
from transformers import AutoTokenizer

from llava_serve.chat.markers import AnswerText, Segment, TemplateText, UserText
from llava_serve.chat.rendering import PromptFormat, from_template
from llava_serve.chat.templates import TEMPLATES
from llava_serve.checkpoints.prompts import chat_template, own_format
from llava_serve.request import Conversation, Image, Message
from llava_serve.tiny import CHECKPOINT

RED = Image(PIL.Image.new("RGB", (2, 2), "red"), "red")
QUESTION = Message("user", (RED, "What is it?"))
TEXTS = ["A", "A cat", " a cat ", "A cat.\n\n", "</s><|im_end|>", "  ", "1. one\n2."]
# How released checkpoints write turns: stripped, with blanks around, with an end behind each.
CHAT_TEMPLATES = {
    "bundled": None,
    "llava-1.5-hf": (
        "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
        "{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}{{ '<image>\n' }}{% else %}{{ part['text'] + ' ' }}"
        "{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "strips": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "ends with a token": (
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
    ),
}


@cache
def chat_format(source: str | None) -> PromptFormat:
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    template = source or chat_template(CHECKPOINT, tokenizer)
    assert template is not None
    return own_format(tokenizer, template, ("<image>", "<video>"))


FORMS: dict[str, Callable[[], PromptFormat]] = {
    **{name: partial(from_template, row) for name, row in TEMPLATES.items()},
    **{name: partial(chat_format, source) for name, source in CHAT_TEMPLATES.items()},
}


def shown(segments: list[Segment]) -> str:
    return "".join(
        s.text if isinstance(s, TemplateText | UserText) else "(picture)" for s in segments
    )


@pytest.mark.parametrize("text", TEXTS, ids=json.dumps)
@pytest.mark.parametrize("name", FORMS)
def test_the_prompt_is_the_past_up_to_the_text(name: str, text: str) -> None:
    form = FORMS[name]()
    answered = (QUESTION, Message("assistant", (text,)))
    going_on = form.render(Conversation(answered).continued())
    later = form.render(Conversation((*answered, Message("user", ("And?",)))))
    assert going_on[-1] == AnswerText(text)
    assert shown(later).startswith(shown(going_on))
    assert RED in going_on


@pytest.mark.parametrize("name", FORMS)
def test_a_text_in_several_parts_is_one_text(name: str) -> None:
    parts = Message("assistant", ("A ", "cat"))
    going_on = FORMS[name]().render(Conversation((QUESTION, parts)).continued())
    assert shown(going_on).endswith("A cat") or name == "llava-1.5-hf"
    assert going_on[-1] == AnswerText("cat")


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("parts", [(), ("",), ("", "")])
def test_an_answer_without_text_begins_anew(name: str, parts: tuple[str, ...]) -> None:
    form = FORMS[name]()
    nothing = Conversation((QUESTION, Message("assistant", parts))).continued()
    assert form.render(nothing) == form.render(Conversation((QUESTION,)))
