"""Answers of a worker that go on with a text of the assistant."""

from typing import Any

import httpx
import pytest

from tests.worker.test_app import events, question


def begun(text: Any, **fields: Any) -> dict[str, Any]:
    body = question("hello big world", **fields)
    body["messages"].append({"role": "assistant", "content": text})
    return body | {"continue_final_message": True}


@pytest.mark.parametrize("content", ["hello b", [{"type": "text", "text": "hello b"}]])
@pytest.mark.parametrize("prompt", [{}, {"add_generation_prompt": False}])
async def test_an_answer_goes_on_with_the_text_that_is_given(
    http: httpx.AsyncClient, content: Any, prompt: dict[str, bool]
) -> None:
    answer = await http.post("/v1/chat/completions", json=begun(content, **prompt))
    assert answer.json()["choices"][0]["message"]["content"] == "ig world"
    assert answer.json()["usage"]["prompt_tokens"] == 5
    assert answer.json()["usage"]["completion_tokens"] == 2


async def test_a_streamed_answer_holds_new_text_only(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=begun("hello ", stream=True))
    texts = [event["choices"][0]["delta"].get("content") for event in events(answer)]
    assert texts == ["", "big ", "world", None]


async def test_a_text_that_is_empty_is_an_answer_not_begun(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=begun(""))
    assert answer.json()["choices"][0]["message"]["content"] == "hello big world"


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"messages": question()["messages"]}, "continue_final_message", "of the assistant"),
        ({"add_generation_prompt": True}, "continue_final_message", "exclude each other"),
        (
            {"continue_final_message": False, "add_generation_prompt": False},
            "add_generation_prompt",
            "needs continue_final_message",
        ),
        ({"continue_final_message": "yes please"}, "continue_final_message", "boolean"),
        ({"messages": [{"role": "assistant", "content": ""}]}, "messages", "say nothing"),
    ],
)
async def test_what_cannot_be_gone_on_with_is_refused_by_name(
    http: httpx.AsyncClient, fields: dict[str, Any], param: str, reason: str
) -> None:
    answer = await http.post("/v1/chat/completions", json=begun("hello") | fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert reason in error["message"]


@pytest.mark.parametrize("value", [None, True])
async def test_neutral_values_ask_for_an_answer_as_ever(
    http: httpx.AsyncClient, value: bool | None
) -> None:
    fields = {"continue_final_message": value and False, "add_generation_prompt": value}
    answer = await http.post("/v1/chat/completions", json=question("hello", **fields))
    assert answer.json()["choices"][0]["message"]["content"] == "hello"
