"""Asking of a recording's requests: greedy, one after the other, with log-probabilities."""

from typing import Any

from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_token_logprob import ChatCompletionTokenLogprob

from llava_serve.asked_server import AskedServer
from llava_serve.errors import CommandError
from llava_serve.replaying.recording import RecordedAnswer, RecordedToken


async def answer_of(
    server: AskedServer, model: str, name: str, body: dict[str, Any]
) -> RecordedAnswer:
    """Ask one request of a recording.

    Raises:
        CommandError: the server tells no log-probabilities.
        ServeError: it does not answer.
    """
    text, finish_reason, usage = "", None, None
    tokens: list[ChatCompletionTokenLogprob] = []
    async for chunk in server.client.stream({**body, "model": model}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            tokens += _logprobs(chunk)
            finish_reason = choice.finish_reason or finish_reason
    if text and not tokens:
        raise CommandError(
            f"{server.address} tells no log-probabilities (request {name!r})",
            "Ask a server that honours logprobs, or start this one with what makes it do so.",
        )
    return RecordedAnswer(
        text=text,
        finish_reason=finish_reason,
        tokens=[_recorded(one) for one in tokens],
        prompt_tokens=usage.prompt_tokens if usage else None,
    )


def greedy(body: dict[str, Any], max_tokens: int, top_logprobs: int) -> dict[str, Any]:
    """Return a body that asks for a greedy answer of bounded length with log-probabilities."""
    bounds = {"max_tokens", "max_completion_tokens"} & body.keys()
    asked = body if bounds else {**body, "max_tokens": max_tokens}
    return {**asked, "temperature": 0, "logprobs": True, "top_logprobs": top_logprobs}


def _logprobs(chunk: ChatCompletionChunk) -> list[ChatCompletionTokenLogprob]:
    told = [choice.logprobs.content for choice in chunk.choices if choice.logprobs]
    return [token for content in told for token in content or ()]


def _recorded(token: ChatCompletionTokenLogprob) -> RecordedToken:
    """Return a token under the text of its bytes, where it has them: half characters differ."""
    top = {_name(one.token, one.bytes): one.logprob for one in token.top_logprobs}
    return RecordedToken(token=_name(token.token, token.bytes), logprob=token.logprob, top=top)


def _name(text: str, data: list[int] | None) -> str:
    return text if data is None else bytes(data).decode(errors="backslashreplace")
