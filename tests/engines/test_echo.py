from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import PIL.Image
import pytest

from llava_serve.engines.echo import CONTEXT_LENGTH, EchoEngine
from llava_serve.errors import ContextOverflow, MediaCountMismatch
from llava_serve.request import (
    Conversation,
    Delta,
    GenerateRequest,
    Image,
    Message,
    ReadyPrompt,
    SamplingParams,
    Usage,
    Video,
)


def picture(width: int, height: int) -> Image:
    return Image(PIL.Image.new("RGB", (width, height)), f"{width}x{height}")


def request(prompt: Conversation | ReadyPrompt, **sampling: object) -> GenerateRequest:
    return GenerateRequest(
        request_id="req-1",
        prompt=prompt,
        sampling=SamplingParams(**sampling),  # type: ignore[arg-type]
    )


def asked(*parts: str | Image | Video) -> Conversation:
    return Conversation((Message("user", parts),))


async def collect(stream: AsyncGenerator[Delta]) -> tuple[str, Delta]:
    deltas = [delta async for delta in stream]
    assert all(delta.finish_reason is None for delta in deltas[:-1])
    return "".join(delta.text for delta in deltas), deltas[-1]


async def test_it_repeats_the_last_question_word_by_word() -> None:
    conversation = Conversation(
        (
            Message("user", ("first",)),
            Message("assistant", ("first",)),
            Message("user", ("hello  big world",)),
        )
    )
    deltas = [delta async for delta in EchoEngine().stream(request(conversation))]
    assert [delta.text for delta in deltas] == ["hello  ", "big ", "world", ""]
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage == Usage(prompt_tokens=5, completion_tokens=3)


@pytest.mark.parametrize(
    ("begun", "rest"),
    [
        ("hello ", ["big ", "world"]),
        ("hello b", ["ig ", "world"]),
        ("hello big world", []),
        ("other", ["hello ", "big ", "world"]),
    ],
)
async def test_it_goes_on_with_the_beginning_of_its_answer(begun: str, rest: list[str]) -> None:
    said = (Message("user", ("hello big world",)), Message("assistant", (begun,)))
    prompt = Conversation(said).continued()
    deltas = [delta async for delta in EchoEngine().stream(request(prompt))]
    assert [delta.text for delta in deltas if delta.text] == rest
    usage = deltas[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3 + len(begun.split()), len(rest))


async def test_it_says_what_pictures_and_frames_it_got() -> None:
    prompt = asked(picture(96, 96), picture(200, 100), Video((picture(64, 48),) * 3), "what?")
    text, last = await collect(EchoEngine().stream(request(prompt)))
    assert text == "[2 pictures: 96x96, 200x100] [3 frames: 64x48, 64x48, 64x48] what?"
    assert last.usage is not None
    assert last.usage.image_tokens == 5


async def test_a_ready_prompt_is_repeated_without_its_placeholders() -> None:
    prompt = ReadyPrompt("USER: <image>\nhi ASSISTANT:", (picture(9, 7),))
    text, _ = await collect(EchoEngine().stream(request(prompt)))
    assert text == "[1 picture: 9x7] USER: \nhi ASSISTANT:"


async def test_placeholders_and_pictures_must_agree() -> None:
    with pytest.raises(MediaCountMismatch, match="0 pictures for 1 <image>"):
        await collect(EchoEngine().stream(request(ReadyPrompt("<image>"))))


async def test_a_stop_string_ends_the_answer_and_is_not_shown() -> None:
    text, last = await collect(EchoEngine().stream(request(asked("one two three"), stop=("two",))))
    assert (text, last.finish_reason) == ("one ", "stop")


async def test_the_token_limit_ends_the_answer() -> None:
    text, last = await collect(EchoEngine().stream(request(asked("a b c"), max_new_tokens=2)))
    assert (text, last.finish_reason) == ("a b ", "length")


async def test_what_does_not_fit_the_context_is_refused_with_the_numbers() -> None:
    with pytest.raises(ContextOverflow, match=f"has 1 tokens and {CONTEXT_LENGTH} are asked"):
        await collect(EchoEngine().stream(request(asked("a"), max_new_tokens=CONTEXT_LENGTH)))


async def test_closing_the_stream_ends_it_at_once() -> None:
    engine = EchoEngine("mirror", delay_s=0.001)
    async with aclosing(engine.stream(request(asked("word " * 1000)))) as deltas:
        assert (await anext(deltas)).text == "word "
        assert engine.running == 1
    assert engine.running == 0
    assert engine.card.id == "mirror"


async def test_it_goes_on_behind_the_words_that_another_one_said() -> None:
    whole = request(asked("one two three four"), stop=("four",))
    deltas = [delta async for delta in EchoEngine().stream(whole)]
    told = [number for delta in deltas[:2] for number in delta.tokens]
    gone_on = [delta async for delta in EchoEngine().stream(replace(whole, resumed=tuple(told)))]
    assert [delta.text for delta in gone_on] == ["one two ", "three ", ""]
    assert [delta.is_replay for delta in gone_on] == [True, False, False]
    assert (gone_on[-1].finish_reason, gone_on[-1].usage) == ("stop", deltas[-1].usage)
