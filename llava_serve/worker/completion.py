"""Chat completions of OpenAI's wire: deltas become server-sent chunks, or one JSON body."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from fastapi.responses import JSONResponse
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice as FullChoice, ChoiceLogprobs as FullLogprobs
from openai.types.chat.chat_completion_chunk import (
    Choice,
    ChoiceDelta,
    ChoiceDeltaToolCall,
    ChoiceDeltaToolCallFunction,
    ChoiceLogprobs,
)
from openai.types.chat.chat_completion_message_function_tool_call import (
    ChatCompletionMessageFunctionToolCall,
    Function,
)
from openai.types.chat.chat_completion_message_tool_call import ChatCompletionMessageToolCallUnion
from openai.types.chat.chat_completion_token_logprob import (
    ChatCompletionTokenLogprob,
    TopLogprob,
)
from openai.types.completion_usage import PromptTokensDetails
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from llava_serve.errors import ServeError
from llava_serve.protocol import sse
from llava_serve.protocol.openai import StreamOptions
from llava_serve.protocol.usage import HEADER
from llava_serve.request import Delta, FinishReason, TokenLogprob, Usage
from llava_serve.tools import ToolCallDelta
from llava_serve.worker.generation import Generation
from llava_serve.worker.resumption import Resumption
from llava_serve.worker.stream import GenerationResponse, StreamedResponse

AnyChoice = TypeVar("AnyChoice", Choice, FullChoice)


class CompletionEvents(StreamedResponse):
    """Server-sent chunks of one id, time and model; each answer's role first, usage last.

    An error before the headers has its own HTTP status. An answer that another worker began has no
    role here.
    """

    separator = sse.SEPARATOR

    def __init__(
        self,
        generation: Generation,
        model: str,
        options: StreamOptions,
        keep_alive_s: float,
        resumption: Resumption | None = None,
    ) -> None:
        headers = {"Content-Type": sse.MEDIA_TYPE} | sse.HEADERS
        super().__init__(generation, headers, keep_alive_s, resumption)
        self._model = model
        self._options = options
        self._created = resumption.created if resumption else int(time.time())
        self._started: set[int] = {0} if resumption and resumption.tokens else set()

    def encode(self, delta: Delta) -> bytes:
        """Return the events of one delta's chunks; the client has a replay already."""
        if delta.is_replay:
            return b""
        # Without warnings: of a text that goes on OpenAI's type has no `finish_reason`.
        return b"".join(
            sse.encode(chunk.model_dump_json(exclude_unset=True, warnings=False))
            for chunk in self._chunks(delta)
        )

    def keep_alive(self) -> bytes:
        """Return a comment, which clients skip."""
        return sse.KEEP_ALIVE

    def end(self) -> bytes:
        """Return the event that ends every stream of this wire."""
        return sse.encode(sse.DONE)

    def failure(self, error: ServeError) -> bytes:
        """Return an event with the body of the error."""
        return sse.encode(json.dumps(error.as_body(self.generation.request_id)))

    def _chunks(self, delta: Delta) -> Iterator[BaseModel]:
        index, so_far = delta.index, delta.so_far
        if index not in self._started:
            self._started.add(index)
            first = _choice(index, ChoiceDelta(role="assistant", content=""))
            yield self._chunk(first, so_far and replace(so_far, completion_tokens=0))
        if delta.text:
            content = _choice(index, ChoiceDelta(content=delta.text))
            if delta.logprobs:
                content.logprobs = ChoiceLogprobs(content=_logprobs(delta.logprobs))
            yield self._chunk(content, so_far)
        if delta.tool_calls:
            calls = [_call_delta(each) for each in delta.tool_calls]
            yield self._chunk(_choice(index, ChoiceDelta(tool_calls=calls)), so_far)
        if delta.finish_reason is not None:
            last = _choice(index, ChoiceDelta(), delta.finish_reason)
            yield self._chunk(_with_stop(last, delta), so_far)
        if delta.usage is not None and self._options.include_usage:
            total = self._of([], usage_of(delta.usage))
            setattr(total, "timings", self.generation.timings)  # noqa: B010 - beyond OpenAI's type
            yield total

    def _chunk(self, choice: Choice, so_far: Usage | None) -> ChatCompletionChunk:
        """Return a chunk with one choice, whose usage so far is shown where that is asked for."""
        shown = usage_of(so_far) if self._options.continuous_usage_stats else None
        return self._of([choice], shown)

    def _usage_field(self, usage: CompletionUsage | None) -> dict[str, CompletionUsage | None]:
        # OpenAI: null until the last chunk
        has_usage = self._options.include_usage or self._options.continuous_usage_stats
        return {"usage": usage} if has_usage else {}

    def _of(self, choices: list[Choice], usage: CompletionUsage | None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=f"chatcmpl-{self.generation.request_id}",
            object="chat.completion.chunk",
            created=self._created,
            model=self._model,
            choices=choices,
            **self._usage_field(usage),
        )


class CompletionBody(GenerationResponse):
    """The whole answer in one JSON body."""

    def __init__(self, generation: Generation, model: str) -> None:
        super().__init__(generation, {})
        self._model = model

    async def write(self, scope: Scope, receive: Receive, send: Send) -> None:
        deltas: defaultdict[int, list[Delta]] = defaultdict(list)
        usage = None
        async for delta in self.generation.read():
            if delta is not None:
                deltas[delta.index].append(delta)
                usage = delta.usage or usage
                if self._tally is not None:
                    self._tally.add(delta)
        body = self._whole(deltas, usage).model_dump(mode="json", exclude_unset=True)
        body["timings"] = self.generation.timings
        so_far = self._tally and self._tally.so_far
        headers = {HEADER: so_far.as_json()} if so_far else {}
        await JSONResponse(body, headers=headers)(scope, receive, send)

    def _whole(self, deltas: Mapping[int, Sequence[Delta]], usage: Usage | None) -> BaseModel:
        """Return the body; the deltas are those of each answer, by its index."""
        return ChatCompletion(
            id=f"chatcmpl-{self.generation.request_id}",
            object="chat.completion",
            created=int(time.time()),
            model=self._model,
            choices=[
                _full_choice(index, deltas[index], self.generation.with_logprobs)
                for index in sorted(deltas)
            ],
            usage=usage_of(usage),
        )


def _full_choice(index: int, deltas: Sequence[Delta], with_logprobs: bool) -> FullChoice:
    logprobs = _logprobs([token for delta in deltas for token in delta.logprobs])
    text, calls = "".join(delta.text for delta in deltas), _calls_of(deltas)
    message = ChatCompletionMessage(role="assistant", content=text)
    if calls:
        message.content, message.tool_calls = text or None, calls
    choice = FullChoice(
        index=index,
        message=message,
        finish_reason=reason_of(deltas),
        logprobs=FullLogprobs(content=logprobs) if with_logprobs else None,
    )
    return _with_stop(choice, deltas[-1])


def _calls_of(deltas: Sequence[Delta]) -> list[ChatCompletionMessageToolCallUnion]:
    parts: defaultdict[int, list[ToolCallDelta]] = defaultdict(list)
    for part in (part for delta in deltas for part in delta.tool_calls):
        parts[part.index].append(part)
    return [
        ChatCompletionMessageFunctionToolCall(
            id=first.id or "",
            type="function",
            function=Function(
                name=first.name or "",
                arguments="".join(part.arguments for part in (first, *others)),
            ),
        )
        for first, *others in parts.values()
    ]


def _call_delta(part: ToolCallDelta) -> ChoiceDeltaToolCall:
    if part.id is None:
        function = ChoiceDeltaToolCallFunction(arguments=part.arguments)
        return ChoiceDeltaToolCall(index=part.index, function=function)
    return ChoiceDeltaToolCall(
        index=part.index,
        id=part.id,
        type="function",
        function=ChoiceDeltaToolCallFunction(name=part.name, arguments=part.arguments),
    )


def _with_stop(choice: AnyChoice, last: Delta) -> AnyChoice:
    """Say in vLLM's field which stop string ended the answer, where one did."""
    if last.stop is not None:
        setattr(choice, "stop_reason", last.stop)  # noqa: B010 - beyond OpenAI's type
    return choice


def reason_of(deltas: Sequence[Delta]) -> FinishReason:
    """Return how one whole answer ended."""
    return next(delta.finish_reason for delta in deltas if delta.finish_reason)


def _choice(index: int, delta: ChoiceDelta, reason: FinishReason | None = None) -> Choice:
    return Choice(index=index, delta=delta, finish_reason=reason)


def _logprobs(tokens: Sequence[TokenLogprob]) -> list[ChatCompletionTokenLogprob]:
    return [
        ChatCompletionTokenLogprob(
            token=token.text,
            bytes=list(token.data),
            logprob=token.logprob,
            top_logprobs=[
                TopLogprob(token=other.text, bytes=list(other.data), logprob=other.logprob)
                for other in token.top
            ],
        )
        for token in tokens
    ]


def usage_of(usage: Usage | None) -> CompletionUsage | None:
    if usage is None:
        return None
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(
            image_tokens=usage.image_tokens, cached_tokens=usage.cached_tokens
        ),
    )
