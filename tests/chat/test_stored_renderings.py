"""Whole conversations with images, rendered by every template, are what is stored."""

import json
from pathlib import Path

import PIL.Image
import pytest

from llava_serve.chat.markers import Segment, TemplateText, UserText
from llava_serve.chat.rendering import from_template
from llava_serve.chat.templates import TEMPLATES
from llava_serve.request import Conversation, Image, Message

STORED = json.loads((Path(__file__).parent / "renderings.json").read_text(encoding="utf-8"))
RED = Image(PIL.Image.new("RGB", (2, 2), "red"), "red")
BLUE = Image(PIL.Image.new("RGB", (2, 2), "blue"), "blue")
QUESTION = Message("user", (RED, "What is it?"))
CONVERSATIONS = {
    "one question": (QUESTION,),
    "text alone": (Message("user", ("Hello",)),),
    "a system message": (Message("system", ("Be brief.",)), QUESTION),
    "pictures in several turns": (
        QUESTION,
        Message("assistant", ("A cat.",)),
        Message("user", ("And ", BLUE, "this?")),
    ),
    "two pictures in a turn": (Message("user", (RED, BLUE, "Compare.")),),
}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_renders_what_is_stored(name: str, conversation: str) -> None:
    segments = from_template(TEMPLATES[name]).render(Conversation(CONVERSATIONS[conversation]))
    assert "".join(map(shown, segments)) == STORED[name][conversation]


def test_nothing_is_stored_for_a_template_that_is_gone() -> None:
    assert set(STORED) == set(TEMPLATES)


def shown(segment: Segment) -> str:
    return segment.text if isinstance(segment, TemplateText | UserText) else "<image>"


def test_marks_stand_around_each_picture_where_the_model_knows_them() -> None:
    template = from_template(TEMPLATES["llava_v1"], ("<im_start>", "<im_end>"))
    segments = template.render(Conversation((QUESTION,)))
    assert "".join(map(shown, segments)).endswith(
        "USER: <im_start><image><im_end>\nWhat is it? ASSISTANT:"
    )


def test_a_line_break_the_client_sent_is_not_doubled() -> None:
    message = Message("user", ("One ", RED, "\nand two ", BLUE, "?"))
    segments = from_template(TEMPLATES["qwen_1_5"]).render(Conversation((message,)))
    assert "user\nOne <image>\nand two <image>\n?<|im_end|>" in "".join(map(shown, segments))
