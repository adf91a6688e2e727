"""Requests about one picture, and those of one conversation, are known by their affinity."""

from typing import Any

from llava_serve.cluster.registry.affinity import of_chat, of_llava
from llava_serve.protocol.openai import parse_chat_request


def image(data: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}}


def affinity(*messages: tuple[str, Any]) -> tuple[int, ...]:
    spoken = [{"role": role, "content": content} for role, content in messages]
    return of_chat(parse_chat_request({"model": "m", "messages": spoken}))


def question(text: str, *images: str) -> tuple[str, Any]:
    return "user", [*map(image, images), {"type": "text", "text": text}]


def test_a_follow_up_has_the_affinity_of_its_conversation() -> None:
    first = affinity(("system", "be brief"), question("what is it?", "AAAA"))
    second = affinity(
        ("system", "be brief"),
        question("what is it?", "AAAA"),
        ("assistant", "a circle"),
        question("and this?", "BBBB"),
    )
    assert first == second
    assert len(first) == 2


def test_another_question_about_a_picture_shares_the_picture_alone() -> None:
    one = affinity(question("what is it?", "AAAA"))
    other = affinity(question("how many?", "AAAA"))
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_another_picture_shares_nothing() -> None:
    one, other = (affinity(question("what is it?", data)) for data in ("AAAA", "BBBB"))
    assert not {*one} & {*other}


def test_a_text_has_the_affinity_of_its_beginning() -> None:
    one = affinity(("user", "hello"))
    assert len(one) == 1
    assert one == affinity(("user", "hello"), ("assistant", "hi"), ("user", "more"))
    assert one != affinity(("user", "hallo"))


def test_large_files_differ_by_their_beginning_middle_end_and_length() -> None:
    data = "A" * 40_000
    changed = [data[:at] + "B" + data[at + 1 :] for at in (0, 20_000, 39_999)] + [data + "AAAA"]
    assert len({affinity(question("what?", one)) for one in (data, *changed)}) == 5


def test_llava_s_wire_has_the_same_two() -> None:
    prompt = "A chat between a human and an assistant. " * 5 + "USER: <image>\nwhat? ASSISTANT:"
    one = of_llava(prompt, ["AAAA"])
    assert one == of_llava(prompt + " a circle</s>USER: why? ASSISTANT:", ["AAAA"])
    assert len(one) == 2
    assert len(of_llava(prompt, None)) == len(of_llava(prompt, [7])) == 1


def test_half_characters_have_an_affinity() -> None:
    assert affinity(("user", "\ud83d")) == affinity(("user", "\ud83d"))
