"""Probabilities of tokens are kept with an answer as its worker told them."""

import pytest
from openai.types.chat import ChatCompletionChunk

from llava_serve.web.conversation_file import ParametersData
from llava_serve.web.inspection.probabilities import MOST_TOKENS, ToldToken, told_by
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import StreamedReply
from tests.web.inspection.conftest import Asked


def chunk(text: str, data: bytes | None, *top: tuple[str, float]) -> ChatCompletionChunk:
    likeliest = [{"token": word, "bytes": None, "logprob": logprob} for word, logprob in top]
    token = {
        "token": text,
        "bytes": None if data is None else list(data),
        "logprob": -0.123456,
        "top_logprobs": likeliest,
    }
    choice = {"index": 0, "delta": {"content": text}, "logprobs": {"content": [token]}}
    record = {"id": "a", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return ChatCompletionChunk.model_validate(record | {"choices": [choice]})


def test_a_token_has_the_likeliest_at_its_place() -> None:
    (token,) = told_by(chunk(" red", b" red", (" red", -0.1), (" blue", -2.30259)))
    assert token == ToldToken(" red", -0.1235, ((" red", -0.1), (" blue", -2.3026)))
    assert ToldToken.restored(token.kept()) == token


@pytest.mark.parametrize(
    ("text", "data", "shown"),
    [("\ufffd", b"\xe4\xb8", r"\xe4\xb8"), ("é", "é".encode(), "é"), ("x", None, "x")],
)
def test_part_of_a_character_is_shown_by_its_bytes(
    text: str, data: bytes | None, shown: str
) -> None:
    assert [token.text for token in told_by(chunk(text, data))] == [shown]


def test_no_more_are_kept_than_can_be_shown() -> None:
    reply = StreamedReply("m")
    for _ in range(MOST_TOKENS + 5):
        reply.take(chunk("a", None), 0.0)
    assert (len(reply.text), len(reply.tokens)) == (MOST_TOKENS + 5, MOST_TOKENS)


def test_an_answer_that_is_open_keeps_them_for_its_end() -> None:
    reply = StreamedReply("m", state="running")
    reply.take(chunk("a", None), 0.0)
    assert "tokens" not in reply.details()
    reply.end("done", 1.0)
    assert reply.details()["tokens"] == [["a", -0.1235, []]]


@pytest.mark.parametrize("logprobs", [True, False])
def test_they_are_asked_for_only_when_they_are_wanted(logprobs: bool) -> None:
    parameters = Parameters(max_tokens=3, seed="7", logprobs=logprobs)
    asked = {"logprobs": True, "top_logprobs": 5} if logprobs else {}
    assert parameters.fields() == {"max_tokens": 3, "seed": 7} | asked
    assert Parameters.restored(parameters.kept()) == parameters
    saved = ParametersData.model_validate(parameters.kept()).model_dump(exclude_none=True)
    assert Parameters.restored(saved) == parameters


async def test_a_reload_has_them_still(asked: Asked) -> None:
    await asked.ask("one <b>two</b>", Parameters(logprobs=True))
    place = {"id": asked.conversation.id, "exchange": 0, "slot": 0}
    html = (await asked.http.post("/inspection/tokens", json=place)).text
    assert html.count('role="option"') == 2
    assert "one </span>" in html and "&lt;b&gt;two&lt;/b&gt;" in html and "<b>two" not in html
    (body,) = asked.bodies["/v1/chat/completions"]
    assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
