"""Text completions of OpenAI's wire: a prompt goes on, in server-sent chunks or one JSON body."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from fastapi import FastAPI, Request
from fastapi.responses import Response
from openai.types import Completion, CompletionChoice
from openai.types.completion_choice import Logprobs
from pydantic import BaseModel

from llava_serve.http.body import read_json, read_once
from llava_serve.media.limits import PixelReservation
from llava_serve.protocol.completions import CompletionRequest, parse_completion_request
from llava_serve.protocol.openai import StreamOptions
from llava_serve.request import Delta, DetokenizeRequest, ReadyPrompt, TokenLogprob, Usage
from llava_serve.worker.completion import CompletionBody, CompletionEvents, reason_of, usage_of
from llava_serve.worker.controller_options import ControllerOptions
from llava_serve.worker.generation import Generation
from llava_serve.worker.resumption import Resumption
from llava_serve.worker.sampling import check_sampled, sampling_of
from llava_serve.worker.worker import ModelWorker

_UNFINISHED = "\ufffd"


class TextEvents(CompletionEvents):
    """Server-sent chunks of one id, time and model; the usage comes last."""

    def __init__(
        self,
        generation: Generation,
        body: CompletionRequest,
        keep_alive_s: float,
        resumption: Resumption | None,
        echoed: Mapping[int, str],
    ) -> None:
        """Show the text of each prompt that is `echoed` before the answers to it."""
        options = body.stream_options or StreamOptions()
        super().__init__(generation, body.model, options, keep_alive_s, resumption)
        self._echoed = echoed
        self._shown = Counter[int]()  # characters of each answer that have logprobs

    def _chunks(self, delta: Delta) -> Iterator[BaseModel]:
        index, so_far, text = delta.index, delta.so_far, delta.text
        if index not in self._started:
            self._started.add(index)
            text = self._echoed.get(delta.prompt_index, "") + text
        if text or delta.finish_reason is not None:
            choice = CompletionChoice.model_construct(
                index=index,
                text=text,
                logprobs=self._logprobs(delta),
                finish_reason=delta.finish_reason,  # type: ignore[arg-type]
            )
            shown = so_far if self._options.continuous_usage_stats else None
            yield self._text_chunk([choice], shown)
        if delta.usage is not None and self._options.include_usage:
            last = self._text_chunk([], delta.usage)
            setattr(last, "timings", self.generation.timings)  # noqa: B010 - beyond OpenAI's type
            yield last

    def _logprobs(self, delta: Delta) -> Logprobs | None:
        if not delta.logprobs:
            return None
        logprobs = _logprobs(delta.logprobs, self._shown[delta.index])
        self._shown[delta.index] += sum(map(_characters, delta.logprobs))
        return logprobs

    def _text_chunk(self, choices: list[CompletionChoice], usage: Usage | None) -> Completion:
        return Completion(
            id=f"cmpl-{self.generation.request_id}",
            object="text_completion",
            created=self._created,
            model=self._model,
            choices=choices,
            **self._usage_field(usage_of(usage)),
        )


class TextBody(CompletionBody):
    """The whole answer in one JSON body."""

    def __init__(
        self, generation: Generation, body: CompletionRequest, echoed: Mapping[int, str]
    ) -> None:
        super().__init__(generation, body.model)
        self._echoed = echoed

    def _whole(self, deltas: Mapping[int, Sequence[Delta]], usage: Usage | None) -> BaseModel:
        return Completion(
            id=f"cmpl-{self.generation.request_id}",
            object="text_completion",
            created=int(time.time()),
            model=self._model,
            choices=[self._choice(index, deltas[index]) for index in sorted(deltas)],
            usage=usage_of(usage),
        )

    def _choice(self, index: int, deltas: Sequence[Delta]) -> CompletionChoice:
        echoed = self._echoed.get(deltas[0].prompt_index, "")
        tokens = [token for delta in deltas for token in delta.logprobs]
        return CompletionChoice(
            index=index,
            text=echoed + "".join(delta.text for delta in deltas),
            logprobs=_logprobs(tokens, 0) if self.generation.with_logprobs else None,
            finish_reason=reason_of(deltas),
        )


def add_route(app: FastAPI, worker: ModelWorker, keep_alive_s: float) -> None:
    """Give `app` the route of text completions."""

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        content = (await read_json(request))[0]
        options = ControllerOptions(request, content)
        body = parse_completion_request(content)
        check_sampled(body, worker.engine.card)
        sampling = sampling_of(body, worker.engine.card.sampling)

        echoed: dict[int, str] = {}  # by the prompt's number, before the first delta

        async def prompts_of(_: PixelReservation) -> tuple[ReadyPrompt, ...]:
            if body.echo:
                echoed.update(enumerate([await _text_of(worker, one) for one in body.prompt]))
            return tuple(map(_ready, body.prompt))

        read_prompts = read_once(request, prompts_of)
        count, prompts = body.n or 1, len(body.prompt)
        generation = options.generation(worker, read_prompts, sampling, count, prompts)
        if not body.stream:
            return TextBody(generation, body, echoed)
        return TextEvents(generation, body, keep_alive_s, options.resumption, echoed)


def _ready(prompt: str | list[int]) -> ReadyPrompt:
    if isinstance(prompt, str):
        return ReadyPrompt(prompt, continues=True)
    return ReadyPrompt("", continues=True, tokens=tuple(prompt))


async def _text_of(worker: ModelWorker, prompt: str | list[int]) -> str:
    if isinstance(prompt, str):
        return prompt
    return (await worker.engine.detokenize(DetokenizeRequest(tuple(prompt), "prompt"))).prompt


def _logprobs(tokens: Sequence[TokenLogprob], offset: int) -> Logprobs:
    """Return tokens whose first one begins at the character `offset` of the answer."""
    beginnings = accumulate(map(_characters, tokens[:-1]), initial=offset)
    return Logprobs(
        tokens=[_name(token) for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        # With the one that was chosen, as OpenAI has it, so that there may be one more.
        top_logprobs=[{_name(one): one.logprob for one in (*token.top, token)} for token in tokens],
        text_offset=list(beginnings) if tokens else [],
    )


def _name(token: TokenLogprob) -> str:
    """Return a token's text, or its bytes as OpenAI writes those that are no text alone."""
    if _UNFINISHED not in token.text:
        return token.text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.data)


def _characters(token: TokenLogprob) -> int:
    """Return how many characters begin in a token, which may hold part of one."""
    return sum(byte & 0xC0 != 0x80 for byte in token.data)
