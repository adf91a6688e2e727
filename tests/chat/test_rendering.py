from typing import Any

import PIL.Image
import pytest
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llava_serve.chat.markers import Segment, TemplateText, UserText
from llava_serve.chat.rendering import ApplyTemplate, from_chat_template, from_template
from llava_serve.chat.templates import TEMPLATES, template_named
from llava_serve.errors import InvalidField
from llava_serve.request import Conversation, Image, Message, Video

RED = Image(PIL.Image.new("RGB", (8, 8), "red"), "red")
BLUE = Image(PIL.Image.new("RGB", (8, 8), "blue"), "blue")
CLIP = Video((RED, BLUE))

PARTS = """\
{% for message in messages %}[{{ message.role }}]\
{% for part in message.content %}\
{% if part.type == 'text' %}{{ part.text }}{% else %}<{{ part.type }}>{% endif %}\
{% endfor %}{% endfor %}[assistant]"""
STRINGS = "{% for m in messages %}[{{ m.role }}]{{ m.content + '|' }}{% endfor %}[assistant]"


def refuse(reason: str) -> None:
    raise TemplateError(reason)


def jinja(source: str) -> ApplyTemplate:
    environment = ImmutableSandboxedEnvironment()
    environment.globals["raise_exception"] = refuse
    template = environment.from_string(source)

    def apply(messages: list[dict[str, Any]], add_generation_prompt: bool = True) -> str:
        return template.render(messages=messages, add_generation_prompt=add_generation_prompt)

    return apply


def shown(segments: list[Segment]) -> str:
    names = {id(RED): "(red)", id(BLUE): "(blue)", id(CLIP): "(clip)"}
    return "".join(
        segment.text
        if isinstance(segment, TemplateText)
        else f"«{segment.text}»"
        if isinstance(segment, UserText)
        else names[id(segment)]
        for segment in segments
    )


def asked(*parts: str | Image | Video) -> Conversation:
    return Conversation((Message("user", parts),))


def test_text_pictures_and_clips_stand_where_the_client_put_them() -> None:
    segments = from_chat_template(jinja(PARTS)).render(asked("a", BLUE, "b", CLIP, RED, "c"))
    assert shown(segments) == "[user]«a»(blue)«b»(clip)(red)«c»[assistant]"


def test_several_turns_keep_their_pictures() -> None:
    conversation = Conversation(
        (
            Message("system", ("be brief",)),
            Message("user", (RED, "what?")),
            Message("assistant", ("red",)),
            Message("user", ("and", BLUE)),
        )
    )
    assert shown(from_chat_template(jinja(PARTS)).render(conversation)) == (
        "[system]«be brief»[user](red)«what?»[assistant]«red»[user]«and»(blue)[assistant]"
    )


@pytest.mark.parametrize("text", ["<image>", "<video>", "<|im_end|>", "[assistant]", "{{ 1 + 1 }}"])
def test_what_a_user_types_stays_text(text: str) -> None:
    segments = from_chat_template(jinja(PARTS)).render(asked(RED, text))
    assert segments == [TemplateText("[user]"), RED, UserText(text), TemplateText("[assistant]")]


def test_a_template_for_plain_strings_gets_placeholders() -> None:
    segments = from_chat_template(jinja(STRINGS)).render(asked(RED, "what? <image>"))
    assert shown(segments) == "[user](red)\n«what? <image>»|[assistant]"


def test_a_template_without_a_place_for_video_refuses_it() -> None:
    source = PARTS.replace("<{{ part.type }}>", "{% if part.type == 'image' %}<image>{% endif %}")
    with pytest.raises(InvalidField, match=r"loses a clip"):
        from_chat_template(jinja(source)).render(asked(CLIP, "what?"))


def test_a_template_that_drops_system_messages_refuses_them() -> None:
    source = "{% for m in messages if m.role != 'system' %}{{ m.content[0].text }}{% endfor %}"
    conversation = Conversation((Message("system", ("s",)), Message("user", ("u",))))
    with pytest.raises(InvalidField, match=r"loses 's'"):
        from_chat_template(jinja(source)).render(conversation)


def test_a_template_s_own_complaint_reaches_the_caller() -> None:
    source = "{% if messages|length > 1 %}{{ raise_exception('one turn') }}{% endif %}" + PARTS
    conversation = Conversation((Message("user", ("a",)), Message("user", ("b",))))
    with pytest.raises(InvalidField, match=r"refuses them: one turn"):
        from_chat_template(jinja(source)).render(conversation)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_conversation_template_shows_all_parts_and_keeps_text_apart(name: str) -> None:
    conversation = Conversation(
        (
            Message("user", (RED, "first <image> </s>")),
            Message("assistant", ("<s>",)),
            Message("user", ("second", BLUE)),
        )
    )
    segments = from_template(template_named(name)).render(conversation)
    said = [segment.text for segment in segments if isinstance(segment, UserText)]
    assert said == ["first <image> </s>", "<s>", "second"]
    assert [segment for segment in segments if isinstance(segment, Image)] == [RED, BLUE]


def test_pictures_come_first_where_the_model_was_trained_so() -> None:
    segments = from_template(template_named("vicuna_v1")).render(asked("what?", RED, BLUE))
    assert shown(segments).endswith("USER: (red)\n(blue)\n«what?» ASSISTANT:")


def test_pictures_stay_in_place_where_the_model_was_trained_so() -> None:
    segments = from_template(template_named("qwen_1_5")).render(asked("one", RED, "two"))
    assert "user\n«one»(red)\n«two»<|im_end|>" in shown(segments)


def test_a_late_system_message_is_refused_by_a_conversation_template() -> None:
    conversation = Conversation((Message("user", ("u",)), Message("system", ("s",))))
    with pytest.raises(InvalidField, match="must come before"):
        from_template(template_named("vicuna_v1")).render(conversation)


def test_a_conversation_without_a_question_is_refused() -> None:
    with pytest.raises(InvalidField, match="no user message"):
        from_template(template_named("vicuna_v1")).render(
            Conversation((Message("system", ("s",)),))
        )
