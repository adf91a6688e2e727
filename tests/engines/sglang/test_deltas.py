"""Deltas are new text only, in each of the ways SGLang streams."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llava_serve.engines.sglang.deltas import of_chat, of_generate
from llava_serve.errors import SglangFailed, SglangRefused
from llava_serve.request import Delta, TokenLogprob, Usage
from tests.engines.sglang.conftest import CHAT_EVENTS, chat_event

STOP = {"type": "stop", "matched": 2}


async def told(events: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    for event in events:
        yield event


def generated(text: str, end: Any = None, **about: Any) -> dict[str, Any]:
    counts = {"prompt_tokens": 9, "completion_tokens": 3, "cached_tokens": 4}
    return {"text": text, "meta_info": {"finish_reason": end} | counts | about}


async def test_chat_tells_text_then_the_reason_and_the_usage_together() -> None:
    deltas = [delta async for delta in of_chat(told(CHAT_EVENTS))]
    assert deltas == [
        Delta("It is"),
        Delta(" red."),
        Delta("", "stop", Usage(9, 2, image_tokens=5, cached_tokens=4)),
    ]


async def test_chat_tells_the_usage_so_far_where_every_event_has_one() -> None:
    def used(tokens: int) -> dict[str, Any]:
        return {"usage": {"prompt_tokens": 9, "completion_tokens": tokens}}

    events = [
        chat_event(delta={"role": "assistant", "content": ""}) | used(0),
        chat_event(delta={"content": "It is"}) | used(2),
        chat_event(delta={"content": " red."}) | used(4),
        chat_event(finish_reason="stop") | used(5),
        {"choices": [], **used(5)},
    ]
    deltas = [delta async for delta in of_chat(told(events))]
    assert deltas == [
        Delta("It is", so_far=Usage(9, 2)),
        Delta(" red.", so_far=Usage(9, 4)),
        Delta("", "stop", Usage(9, 5)),
    ]


async def test_generate_tells_the_usage_so_far() -> None:
    events = [generated("It", completion_tokens=1), generated("It is", STOP)]
    first, *_ = [delta async for delta in of_generate(told(events), streams_deltas=False)]
    assert first == Delta("It", so_far=Usage(9, 1, cached_tokens=4))


@pytest.mark.parametrize("reason", ["abort", "content_filter"])
async def test_an_answer_that_the_server_ended_itself_is_an_error(reason: str) -> None:
    with pytest.raises(SglangFailed, match=reason):
        [delta async for delta in of_chat(told([chat_event(finish_reason=reason)]))]


@pytest.mark.parametrize(
    ("texts", "streams_deltas"),
    [
        (["It", "It is", "It is", "It is red"], False),
        (["It", " is", "", " red"], True),
        (["ha", "haha", "hahaha"], False),
        (["ha", "ha", "ha"], True),
    ],
)
async def test_both_modes_give_the_same_text(texts: list[str], streams_deltas: bool) -> None:
    events = [generated(text) for text in texts[:-1]] + [generated(texts[-1], STOP)]
    deltas = [delta async for delta in of_generate(told(events), streams_deltas)]
    whole = "".join(texts) if streams_deltas else texts[-1]
    assert "".join(delta.text for delta in deltas) == whole
    assert (deltas[-1].finish_reason, deltas[-1].usage) == ("stop", Usage(9, 3, cached_tokens=4))


@pytest.mark.parametrize("streams_deltas", [False, True])
async def test_no_part_of_a_stop_string_is_shown(streams_deltas: bool) -> None:
    texts = ["I know sim", "I know simple"] if not streams_deltas else ["I know sim", "ple"]
    matched = {"type": "stop", "matched": "simple"}
    events = [generated(texts[0]), generated(texts[1], matched)]
    deltas = [delta async for delta in of_generate(told(events), streams_deltas, ("simple",))]
    assert [(delta.text, delta.finish_reason) for delta in deltas] == [
        ("I know ", None),
        ("", "stop"),
    ]


async def test_what_only_looked_like_a_stop_string_is_shown_in_the_end() -> None:
    events = [chat_event(delta={"content": "I know sim"}), *CHAT_EVENTS[-2:]]
    deltas = [delta async for delta in of_chat(told(events), ("simple",))]
    assert "".join(delta.text for delta in deltas) == "I know sim"


async def test_deltas_where_whole_texts_were_expected_are_no_garbage_but_an_error() -> None:
    with pytest.raises(SglangFailed, match="--incremental-streaming-output"):
        [d async for d in of_generate(told([generated("It"), generated(" is")]), False)]


async def test_a_request_that_failed_inside_the_server_tells_its_message() -> None:
    end = {"type": "abort", "message": "Failed to compile regex", "status_code": 400}
    with pytest.raises(SglangRefused, match="Failed to compile regex"):
        [delta async for delta in of_generate(told([generated("", end)]), False)]


def _so_far(events: list[list[Any]]) -> list[list[Any]]:
    return [[token for event in events[: i + 1] for token in event] for i in range(len(events))]


def _by_itself(events: list[list[Any]]) -> list[list[Any]]:
    return events


@pytest.mark.parametrize("form", [_so_far, _by_itself])
async def test_logprobs_come_once_in_both_modes(
    form: Callable[[list[list[Any]]], list[list[Any]]],
) -> None:
    tokens = [[[-0.5, 1, "It"]], [[-0.25, 2, " is"]], [[-0.125, 2, "<end>"]]]
    texts = ["It", " is", ""] if form is _by_itself else ["It", "It is", "It is"]
    events = [
        generated(
            texts[i],
            STOP if i == 2 else None,
            output_token_logprobs=chosen,
            output_top_logprobs=[[[-0.5, 1, "x"]]] * len(chosen),
            output_token_logprobs_length=i + 1,
        )
        for i, chosen in enumerate(form(tokens))
    ]
    streams = of_generate(told(events), streams_deltas=form is _by_itself)
    logprobs = [one for delta in [delta async for delta in streams] for one in delta.logprobs]
    assert [one.text for one in logprobs] == ["It", " is"]  # the third one ended the answer
    assert logprobs[0].top == (TokenLogprob("x", b"x", -0.5),)


async def test_logprobs_wait_until_their_text_is_certain() -> None:
    half = {"token": "\ufffd", "bytes": [195], "logprob": -0.5, "top_logprobs": []}
    rest = {"token": "\ufffd", "bytes": [169], "logprob": -0.25, "top_logprobs": []}
    events = [
        chat_event(delta={"content": ""}, logprobs={"content": [half]}),
        chat_event(delta={"content": "é"}, logprobs={"content": [rest]}),
        *CHAT_EVENTS[-2:],
    ]
    deltas = [delta async for delta in of_chat(told(events))]
    assert [(delta.text, [one.data for one in delta.logprobs]) for delta in deltas] == [
        ("é", [b"\xc3", b"\xa9"]),
        ("", []),
    ]


def scored(*tokens: str) -> dict[str, Any]:
    told = [{"token": t, "bytes": [*t.encode()], "logprob": -0.5} for t in tokens]
    return {"content": told}


def merged(form: str, text: str, *tokens: str, end: Any = None) -> dict[str, Any]:
    """An event of a server that tells several tokens at once (`--stream-interval`)."""
    if form == "chat":
        return chat_event(delta={"content": text}, logprobs=scored(*tokens))
    told = [[-0.5, 1, token] for token in tokens]
    return generated(text, end, output_token_logprobs=told)


@pytest.mark.parametrize("form", ["chat", "generate"])
@pytest.mark.parametrize(
    ("text", "tokens", "stop", "matched", "expected"),
    [
        pytest.param("It is.", ["It", " is", ".", "<end>"], (), 2, ["It", " is", "."], id="token"),
        pytest.param("It is.", ["It", " is", "."], (), 2, ["It", " is", "."], id="untold token"),
        pytest.param("It is r", ["It", " is", " red"], (" is r",), " is r", ["It"], id="string"),
        pytest.param("It is r", ["It", " is", " red"], ("s r",), "s r", ["It", " is"], id="partly"),
    ],
)
async def test_what_ended_an_answer_or_was_cut_off_has_no_logprob(
    form: str,
    text: str,
    tokens: list[str],
    stop: tuple[str, ...],
    matched: Any,
    expected: list[str],
) -> None:
    if form == "chat":
        ending = chat_event(finish_reason="stop", matched_stop=matched)
        events = [merged("chat", text, *tokens), ending, CHAT_EVENTS[-1]]
        stream = of_chat(told(events), stop)
    else:
        tokens = [*tokens, "<end>"] if matched == 2 and tokens[-1] != "<end>" else tokens
        end = {"type": "stop", "matched": matched}
        stream = of_generate(told([merged("generate", text, *tokens, end=end)]), False, stop)
    deltas = [delta async for delta in stream]
    assert [one.text for delta in deltas for one in delta.logprobs] == expected
    assert deltas[-1].finish_reason == "stop"
