"""The engine whose model runs in an SGLang server: checked requests there, deltas back."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from llava_serve.chat.rendering import PromptFormat
from llava_serve.engines.preprocessing import PreprocessingPool
from llava_serve.engines.sglang import deltas, payload
from llava_serve.engines.sglang.client import Body, Event, SglangClient
from llava_serve.engines.sglang.placeholders import TemplateCheck, check_prompt, check_texts
from llava_serve.engines.sglang.served import Served
from llava_serve.engines.sglang.server import Server
from llava_serve.engines.sglang.tokenization import NO_TEMPLATE, ServerTokenizer
from llava_serve.engines.sglang.tools import check_beside_tools
from llava_serve.engines.text_length import check_length, texts_of
from llava_serve.errors import InspectionUnsupported, InvalidField, TextTooLong
from llava_serve.protocol.inspection import Inspection
from llava_serve.protocol.model_card import ModelCard
from llava_serve.protocol.tokenization import Detokenization, Tokenization
from llava_serve.request import (
    Delta,
    DetokenizeRequest,
    GenerateRequest,
    InspectRequest,
    ReadyPrompt,
    TokenizeRequest,
)

ReadAnswer = Callable[[AsyncIterable[Event]], AsyncGenerator[Delta]]


class SglangEngine:
    """Passes requests on to `server`; `form` renders messages in place of its chat template."""

    precision = None
    fingerprint = None  # the server does not tell the tokens of all its answers
    healthy = True  # the server's health is its own: see `Server`
    # Passed on at once; the server batches as many as fit and lets the others wait. It may start
    # after this worker, so its own number shows in what `Server.load` reports, and not here.
    slots = 256

    def __init__(
        self, client: SglangClient, server: Server, form: PromptFormat | None = None
    ) -> None:
        self._client = client
        self._server = server
        self._form = form
        self._template = TemplateCheck(client)
        self._encoding = PreprocessingPool(payload.encode)
        self._tokenizer = ServerTokenizer(client, form)

    @property
    def card(self) -> ModelCard:
        """Raises: SglangUnreachable, while no server is ready."""
        return self._server.card

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        """Yield deltas; see `Engine.stream`."""
        path, body, read_answer = await self._upstream_request(request)
        async with (
            self._client.streamed(path, body) as events,
            aclosing(events.read()) as told,
            aclosing(read_answer(told)) as read,
        ):
            async for delta in read:
                yield delta

    async def _upstream_request(self, request: GenerateRequest) -> tuple[str, Body, ReadAnswer]:
        """Check what the server would not survive or not honour, and encode the images.

        Returns the route, the body, and how the answer is read.
        """
        prompt, sampling, served = request.prompt, request.sampling, self._server.served
        payload.check_seed(sampling, served)
        check_length(texts_of(prompt), self.card.context_length)
        rid = f"{request.request_id}-{secrets.token_hex(4)}"
        if not isinstance(prompt, ReadyPrompt):
            check_texts(prompt)
            check_beside_tools(prompt, sampling)
            if self._form is None:
                if not served.has_template:
                    raise InvalidField("messages", NO_TEMPLATE)
                # First, so that all answers to one prompt still wait for the same encoding.
                uris = await self._encoding.run(prompt)
                await self._template.check(prompt, served)
                if prompt.continues:
                    await self._template.check_continuation(prompt, served)
                body = payload.chat_body(prompt, uris, sampling, served, rid)
                read = partial(
                    deltas.of_chat,
                    stops=sampling.stop,
                    is_parallel=sampling.tool_choice.is_parallel,
                )
                return payload.CHAT, body, read
            prompt = payload.ready_prompt(prompt, self._form)
            sampling = replace(sampling, stop=(*sampling.stop, *self._form.stops))
        await self._check_ready(prompt, served)
        uris = await self._encoding.run(request.prompt)
        body = payload.generate_body(prompt, uris, sampling, served, rid)
        read = partial(
            deltas.of_generate, streams_deltas=served.streams_deltas, stops=sampling.stop
        )
        return payload.GENERATE, body, read

    async def _check_ready(self, prompt: ReadyPrompt, served: Served) -> None:
        """Check a prompt that the client rendered; the text of its tokens only the server knows.

        A token beyond its vocabulary has none, and would end the server.
        """
        if prompt.tokens:
            if len(prompt.tokens) > self.card.context_length:
                raise TextTooLong(f"{len(prompt.tokens)} tokens", self.card.context_length)
            largest = max(prompt.tokens)
            last = await self._tokenizer.detokenize(DetokenizeRequest((largest,)), served)
            if not last.prompt:
                raise InvalidField("prompt", f"{largest} is no token of this model")
            told = await self._tokenizer.detokenize(DetokenizeRequest(prompt.tokens), served)
            prompt = replace(prompt, text=told.prompt)
        check_prompt(prompt)

    async def inspect(self, _: InspectRequest) -> Inspection:
        """Refuse: the server prepares requests itself. See `Engine.inspect`."""
        raise InspectionUnsupported(self.card.id)

    async def tokenize(self, request: TokenizeRequest) -> Tokenization:
        """Ask the server for the tokens of a prompt; see `Engine.tokenize`."""
        check_length(texts_of(request.prompt), self.card.context_length)
        return await self._tokenizer.tokenize(request, self._server.served)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenization:
        """Ask the server for the text of tokens; see `Engine.detokenize`."""
        return await self._tokenizer.detokenize(request, self._server.served)

    def status(self) -> None:
        """Keep nothing here."""

    def close(self) -> None:
        """Leave the server as it is: it has other clients, or its own supervisor."""
        self._encoding.close()
