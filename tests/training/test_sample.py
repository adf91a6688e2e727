from typing import Any

import PIL.Image
import pytest

from llava_serve.request import Conversation, Image, Message
from llava_serve.training.sample import BrokenSample, SampleMedium, sample_of

RED = Image(PIL.Image.new("RGB", (2, 2), "red"), "red")
BLUE = Image(PIL.Image.new("RGB", (2, 2), "blue"), "blue")


def raw(*texts: str, **media: Any) -> dict[str, Any]:
    speakers = ["human", "gpt"]
    turns = [{"from": speakers[i % 2], "value": text} for i, text in enumerate(texts)]
    return {"conversations": turns, **media}


def test_pictures_stand_where_the_text_has_a_place() -> None:
    sample = sample_of(raw("<image>\nOne <image> two", "a", "<image>", "b", image=["1", "2", "3"]))
    assert [medium.path for medium in sample.media] == ["1", "2", "3"]
    assert sample.conversation([RED, BLUE, RED], keeps_line_breaks=True) == Conversation(
        (
            Message("user", (RED, "\nOne ", BLUE, " two")),
            Message("assistant", ("a",)),
            Message("user", (RED,)),
            Message("assistant", ("b",)),
        )
    )


def test_a_line_break_behind_a_picture_can_be_left_out() -> None:
    sample = sample_of(raw("A\n<image>\n<image>\nB\n<image>", "\na", image=["1", "2", "3"]))
    said = sample.conversation([RED, BLUE, RED], keeps_line_breaks=False).messages
    assert said[0].parts == ("A\n", RED, BLUE, "B\n", RED)
    assert said[1].parts == ("\na",)


@pytest.mark.parametrize("image", [None, "", []])
def test_a_conversation_may_have_no_picture(image: Any) -> None:
    sample = sample_of(raw("Hi", "", image=image))
    assert sample.media == ()
    said = sample.conversation([], keeps_line_breaks=True).messages
    assert [message.parts for message in said] == [("Hi",), ("",)]


def test_the_place_of_a_video_may_be_that_of_a_picture() -> None:
    video = SampleMedium("video", "a.mp4")
    assert sample_of(raw("<image>\nWhat?", "a", video="a.mp4")).media == (video,)
    assert sample_of(raw("<video>\nWhat?", "a", video="a.mp4")).media == (video,)
    both = sample_of(raw("<video> <image>", "a", video="a.mp4", image="a.png"))
    assert both.media == (video, SampleMedium("image", "a.png"))


def test_roles_may_have_openai_s_names() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"from": "assistant", "value": "Hello"},
    ]
    sample = sample_of({"id": 7, "conversations": turns})
    assert (sample.id, [turn.role for turn in sample.turns]) == (
        "7",
        ["system", "user", "assistant"],
    )


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ([], "no JSON object"),
        ({}, "no list of conversations"),
        (raw(), "its conversation is empty"),
        (raw("Hi"), "its last turn is a question without an answer"),
        (raw("Hi", "a", "b"), "its last turn is a question without an answer"),
        ({"conversations": [{"from": "gpt", "value": "a"}]}, "turn 1 is from gpt, not from human"),
        (
            {"conversations": [{"from": "human", "value": "a"}] * 2},
            "turn 2 is from human, not from gpt",
        ),
        ({"conversations": [{"from": "bot", "value": "a"}]}, "turn 1 is from 'bot'"),
        ({"conversations": ["a"]}, "turn 1 is from None"),
        ({"conversations": [{"from": "human", "value": None}]}, "turn 1 has no text"),
        ({"conversations": [{"from": "human", "value": 3}]}, "turn 1 has no text"),
        (raw("<image>", "a"), "it names 0 images and has 1 place for one"),
        (raw("Hi", "a", image="1.png"), "it names 1 image and has 0 places for one"),
        (raw("<image>", "a", image=["1", "2"]), "it names 2 images and has 1 place for one"),
        (raw("<video>", "a", image="1.png"), "it names 1 image and has 0 places"),
        (raw("<image>", "see <image>", image="1"), "turn 2 has a placeholder"),
        (raw("Hi", "a", image=3), "image is neither a path nor a list of paths"),
        (raw("Hi", "a", video=[""]), "video is neither a path nor a list of paths"),
    ],
)
def test_what_cannot_be_learnt_from_is_told(broken: Any, reason: str) -> None:
    with pytest.raises(BrokenSample, match=reason):
        sample_of(broken)
