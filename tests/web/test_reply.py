"""How fast an answer was is said where it was timed, and nowhere else."""

from collections.abc import Sequence

import pytest
from openai.types.chat import ChatCompletionChunk

from llava_serve.web.reply import StreamedReply


def piece(text: str, completion_tokens: int | None = None) -> ChatCompletionChunk:
    usage = None
    if completion_tokens is not None:
        total = completion_tokens + 7
        usage = {
            "prompt_tokens": 7,
            "completion_tokens": completion_tokens,
            "total_tokens": total,
        }
    return ChatCompletionChunk.model_validate(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "tiny",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
            "usage": usage,
        }
    )


def answered(times: Sequence[float], tokens: int | None) -> StreamedReply:
    reply = StreamedReply("tiny")
    reply.begin(0.0)
    for time in times:
        reply.take(piece("word "), time)
    reply.take(piece("", tokens), times[-1])
    reply.end("done", times[-1] + 0.001)
    return reply


@pytest.mark.parametrize(
    ("times", "tokens", "speed"),
    [
        pytest.param([1.0, 1.5, 2.0, 2.5, 3.0], 5, 2.0, id="one token a piece"),
        pytest.param([1.0, 2.0, 3.0], 6, 2.0, id="two tokens a piece"),
        pytest.param([1.0 + n / 1e5 for n in range(64)], 64, None, id="one burst"),
        pytest.param([1.0], 64, None, id="one piece"),
        pytest.param([1.0] * 60 + [1.5, 2.0], 62, 2.0, id="a burst and then its rest"),
        pytest.param([1.0, 2.0], None, None, id="not counted"),
    ],
)
def test_the_speed_is_of_what_came_while_a_clock_ran(
    times: list[float], tokens: int | None, speed: float | None
) -> None:
    assert answered(times, tokens).tokens_per_s == pytest.approx(speed)


def test_a_stopped_answer_keeps_its_figures() -> None:
    reply = StreamedReply("tiny")
    reply.begin(0.0)
    for number, time in enumerate((1.0, 1.5, 2.0), start=1):
        reply.take(piece("word ", number), time)
    reply.end("stopped", 2.1)
    assert (reply.prompt_tokens, reply.completion_tokens) == (7, 3)
    assert reply.tokens_per_s == pytest.approx(2.0)
    assert reply.time_to_first_token_s == pytest.approx(1.0)
