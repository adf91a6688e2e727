"""Calls are read from an answer in whatever pieces it comes, and what is none stays text."""

import json
from random import Random

import pytest

from llava_serve.chat.tool_call_parser import ToolCallParser
from llava_serve.chat.tool_calls import HERMES, LLAMA, MISTRAL, ToolCallFormat
from llava_serve.request import Delta, TokenLogprob

ARGUMENTS = '{"a": "x}\\"{", "b": [1, {"c": 2}], "d": "é\\u00e9<tool_call>"}'
CALL = f'{{"name": "f", "arguments": {ARGUMENTS}}}'
OTHER = '{"name": "g", "arguments": {}}'
PERSON = '{"name": "Ann", "parameters": {}} !'
FORMS = {
    "hermes": ToolCallFormat(HERMES, "<tool_call>\n", (), "\n</tool_call>\n<tool_call>\n", ""),
    "mistral": ToolCallFormat(MISTRAL, "[TOOL_CALLS] [", (), ", ", "]"),
    "bare": ToolCallFormat("", "", (), None, ""),
    "llama": ToolCallFormat(LLAMA, LLAMA, (), None, ""),
}
F, G = ("f", ARGUMENTS), ("g", "{}")
Read = tuple[str, list[tuple[str | None, str]]]

CASES: dict[str, tuple[str, str, str, list[tuple[str, str]]]] = {
    "text alone": ("hermes", "hello < there", "hello < there", []),
    "a call": ("hermes", f"<tool_call>\n{CALL}\n</tool_call>", "", [F]),
    "text before": ("hermes", f"Let me.\n<tool_call>\n{CALL}\n</tool_call>", "Let me.", [F]),
    "two calls and text behind": (
        "hermes",
        f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>{OTHER}</tool_call>\n Done?",
        "Done?",
        [F, G],
    ),
    "no call behind the mark": ("hermes", "<tool_call>\nnothing", "<tool_call>\nnothing", []),
    "part of a mark": ("hermes", "a <tool_ca", "a <tool_ca", []),
    "a call without an end": ("hermes", '<tool_call>{"name": "f', '<tool_call>{"name": "f', []),
    "half a mark behind a call": ("hermes", f"<tool_call>{OTHER}\n</tool_c", "", [G]),
    "no name": ("hermes", 'a <tool_call>{"x": 1} b', 'a <tool_call>{"x": 1} b', []),
    "text, then a call": (
        "hermes",
        f"a <tool_call>[1]<tool_call>{OTHER}",
        "a <tool_call>[1]",
        [G],
    ),
    "arguments first": ("hermes", '<tool_call>{"arguments": {}, "name": "g"}', "", [G]),
    "arguments in a string": (
        "hermes",
        '<tool_call>{"name": "g", "arguments": "{}"}</tool_call>',
        "",
        [G],
    ),
    "a tool that is not there": ("hermes", '<tool_call>{"name": "h", "arguments": {}}', "", [
        ("h", "{}")
    ]),
    "a list": ("mistral", f"[TOOL_CALLS] [{CALL}, {OTHER}]", "", [F, G]),
    "a list with ids": (
        "mistral",
        '[TOOL_CALLS][{"name": "g", "arguments": {}, "id": "abcdefghi"}]',
        "",
        [G],
    ),
    "brackets": ("mistral", "[1, 2]", "[1, 2]", []),
    "bare": ("bare", CALL.replace("arguments", "parameters"), "", [F]),
    "bare, with another's name": ("bare", PERSON, PERSON, []),
    "bare JSON": ("bare", ' {"color": "red"}', ' {"color": "red"}', []),
    "bare text": ("bare", "plain {", "plain {", []),
    "nothing": ("bare", " \n", " \n", []),
    "several bare ones": ("llama", f"<|python_tag|>{CALL}; {OTHER}", "", [F, G]),
    "half a mark": ("llama", "<|pyth", "<|pyth", []),
}  # fmt: skip


def read(form: str, pieces: list[str], *, is_whole: bool = True) -> Read:
    parser = ToolCallParser(FORMS[form], {"f", "g"})
    text = ""
    calls: dict[int, tuple[str | None, str]] = {}
    for at, piece in enumerate(pieces):
        is_last = is_whole and at == len(pieces) - 1
        delta = parser.parse(Delta(piece, "stop" if is_last else None))
        text += delta.text
        for call in delta.tool_calls:
            name, arguments = calls.get(call.index, (call.name, ""))
            calls[call.index] = (name, arguments + call.arguments)
            assert (call.id is None) == (call.name is None)
        if is_last:
            assert delta.finish_reason == ("tool_calls" if calls else "stop")
    assert list(calls) == list(range(len(calls)))
    return text, list(calls.values())


@pytest.mark.parametrize(("form", "answer", "text", "calls"), CASES.values(), ids=CASES)
def test_an_answer_is_read_the_same_in_any_pieces(
    form: str, answer: str, text: str, calls: list[tuple[str, str]]
) -> None:
    rng = Random(answer)
    assert read(form, [answer]) == (text, calls)
    assert read(form, [*answer, ""]) == (text, calls)
    for _ in range(50):
        assert read(form, _cut(answer, rng)) == (text, calls)


@pytest.mark.parametrize(("form", "answer"), [case[:2] for case in CASES.values()], ids=CASES)
def test_what_is_out_depends_on_what_came_and_not_on_its_pieces(form: str, answer: str) -> None:
    rng = Random(answer)
    for end in range(len(answer)):
        begun = answer[:end]
        assert read(form, [begun], is_whole=False) == read(form, _cut(begun, rng), is_whole=False)


def _cut(text: str, rng: Random) -> list[str]:
    cuts = sorted(rng.sample(range(len(text) + 1), rng.randint(0, len(text))))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def test_arguments_come_as_they_are_written() -> None:
    parser = ToolCallParser(FORMS["hermes"], {"f"})
    parser.parse(Delta('<tool_call>\n{"name": "f", "arguments": '))
    (first,) = parser.parse(Delta('{"a": ')).tool_calls
    (second,) = parser.parse(Delta("[1, 2")).tool_calls
    assert (first.name, first.arguments) == ("f", '{"a": ')
    assert (second.id, second.name, second.arguments) == (None, None, "[1, 2")
    assert parser.parse(Delta("", "length")).finish_reason == "length"


def test_an_answer_that_a_stop_string_ends_within_a_call_does_not_say_that_it_calls() -> None:
    answer = f'<tool_call>{OTHER}</tool_call><tool_call>{{"name": "g", "arguments": {{"a'
    delta = ToolCallParser(FORMS["hermes"], {"g"}).parse(Delta(answer, "stop"))
    assert (len(delta.tool_calls), delta.finish_reason) == (2, "stop")


def test_each_call_has_an_id_of_nine_letters() -> None:
    answer = f"<tool_call>{OTHER}</tool_call>" * 5
    calls = ToolCallParser(FORMS["hermes"], {"g"}).parse(Delta(answer, "stop")).tool_calls
    ids = {call.id for call in calls}
    assert len(ids) == 5
    assert all(each is not None and len(each) == 9 and each.isalnum() for each in ids)


def test_text_keeps_its_log_probabilities_and_calls_have_none() -> None:
    parser = ToolCallParser(FORMS["hermes"], {"g"})
    told: list[str] = []
    for piece in ("Look", ":", " ", "<tool_call>", OTHER, "</tool_call>"):
        delta = parser.parse(Delta(piece, logprobs=(TokenLogprob(piece, b"", 0.0),)))
        told += [token.text for token in delta.logprobs]
    assert told == ["Look", ":"]


def test_a_long_call_takes_time_in_proportion() -> None:
    """Each letter is looked at once, however many deltas there are."""
    arguments = json.dumps({"text": "x" * 200_000})
    answer = f'<tool_call>{{"name": "g", "arguments": {arguments}}}</tool_call>'
    pieces = [answer[start : start + 2] for start in range(0, len(answer), 2)]
    assert read("hermes", pieces) == ("", [("g", arguments)])
