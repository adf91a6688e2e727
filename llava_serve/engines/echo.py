"""Echo engine: repeats the question without a model, so the whole stack runs without weights."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from llava_serve.chat.stops import StopMatcher
from llava_serve.engines.echo_inspection import inspect_words
from llava_serve.engines.echo_tokens import WordVocabulary
from llava_serve.engines.logprobs import LogprobBuffer
from llava_serve.engines.text_length import texts_of
from llava_serve.errors import ContextOverflow
from llava_serve.protocol.inspection import Inspection
from llava_serve.protocol.model_card import ModelCard
from llava_serve.protocol.tokenization import Detokenization, Tokenization
from llava_serve.request import (
    Conversation,
    Delta,
    DetokenizeRequest,
    FinishReason,
    GenerateRequest,
    Image,
    InspectRequest,
    ReadyPrompt,
    TokenizeRequest,
    TokenLogprob,
    Usage,
)

CONTEXT_LENGTH = 4096  # words


class EchoEngine:
    """Repeats the last user text word by word, after the sizes of the images that came with it.

    Where it continues a text that its answer begins with, it yields the rest of the answer.

    A token is a word, with a log probability of 0 and its number as id. `delay_s` is waited before
    each one; `running` counts open streams.
    """

    healthy = True
    slots = 16
    fingerprint = "echo"
    precision = None

    def __init__(self, model_name: str = "echo", delay_s: float = 0.0) -> None:
        self.card = ModelCard(
            id=model_name,
            context_length=CONTEXT_LENGTH,
            accepts_images=True,
            accepts_video=True,
            engine="echo",
            supported_params=["detail"],  # it looks at no detail at all
        )
        self.running = 0
        self._vocabulary = WordVocabulary()
        self._delay_s = delay_s

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        """Yield deltas; see `Engine.stream`."""
        sampling = request.sampling
        prompt = self._as_text(request.prompt)
        prompt_tokens, image_tokens = _count(prompt)
        left = CONTEXT_LENGTH - prompt_tokens
        limit = sampling.max_new_tokens or left
        if limit > left or left < 1:
            raise ContextOverflow(prompt_tokens, sampling.max_new_tokens or 1, CONTEXT_LENGTH)
        words = re.findall(r"\S+\s*", _answer(prompt))
        reason: FinishReason = "length" if len(words) > limit else "stop"
        matcher = StopMatcher(sampling.stop)
        num_tokens = told = len(request.resumed)
        logprobs = LogprobBuffer()
        self.running += 1
        try:
            if request.resumed:
                yield Delta(matcher.feed("".join(words[:num_tokens])), is_replay=True)
            for word in words[num_tokens:limit]:
                await asyncio.sleep(self._delay_s)
                num_tokens += 1
                if sampling.top_logprobs is not None:
                    logprobs.add([TokenLogprob(word, word.encode(), 0.0)])
                if text := matcher.feed(word):
                    shown = logprobs.take(len(matcher.unshown.encode()))
                    so_far = Usage(prompt_tokens, num_tokens, image_tokens)
                    tokens = tuple(range(told, num_tokens))
                    yield Delta(text, so_far=so_far, logprobs=shown, tokens=tokens)
                    told = num_tokens
                if matcher.stopped:
                    reason = "stop"
                    break
            rest = matcher.flush()
            usage = Usage(prompt_tokens, num_tokens, image_tokens)
            shown = logprobs.take(0) if rest else ()
            yield Delta(rest, reason, usage, logprobs=shown, stop=matcher.found)
        finally:
            self.running -= 1

    async def inspect(self, request: InspectRequest) -> Inspection:
        """Tell what the request would become; see `Engine.inspect`."""
        prompt_tokens, _ = _count(request.conversation)
        return inspect_words(request, self.card, prompt_tokens)

    async def tokenize(self, request: TokenizeRequest) -> Tokenization:
        """Tell the words of a prompt; see `Engine.tokenize`."""
        return self._vocabulary.tokenize(request, CONTEXT_LENGTH)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenization:
        """Tell the text of words; see `Engine.detokenize`."""
        return self._vocabulary.detokenize(request)

    def _as_text(self, prompt: Conversation | ReadyPrompt) -> Conversation | ReadyPrompt:
        if not isinstance(prompt, ReadyPrompt) or not prompt.tokens:
            return prompt
        asked = DetokenizeRequest(prompt.tokens, field="prompt")
        return replace(prompt, text=self._vocabulary.detokenize(asked).prompt, tokens=())

    def status(self) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def _count(prompt: Conversation | ReadyPrompt) -> tuple[int, int]:
    """Return the words of all messages, media included, and the images and frames alone."""
    texts = prompt.chunks() if isinstance(prompt, ReadyPrompt) else texts_of(prompt)
    media = sum(len(images) for _, images in _media(prompt))
    return sum(len(text.split()) for text in texts) + media, media


def _answer(prompt: Conversation | ReadyPrompt) -> str:
    if isinstance(prompt, ReadyPrompt):
        return _described(prompt) + "".join(prompt.chunks()).strip()
    asked = [message for message in prompt.messages if message.role == "user"][-1:]
    texts = [text for message in asked for text in message.texts]
    return (_described(prompt) + " ".join(texts)).removeprefix(prompt.begun)


def _media(prompt: Conversation | ReadyPrompt) -> list[tuple[str, Sequence[Image]]]:
    """Return what there is to describe: all images, and the frames of each video."""
    if isinstance(prompt, ReadyPrompt):
        return [("picture", prompt.images)]
    images = [image for message in prompt.messages for image in message.images]
    videos = [video for message in prompt.messages for video in message.videos]
    return [("picture", images), *(("frame", video.frames) for video in videos)]


def _described(prompt: Conversation | ReadyPrompt) -> str:
    """Return `[2 pictures: 96x96, 200x100] [3 frames: 64x64] `, or nothing without media."""
    text = ""
    for name, images in _media(prompt):
        sizes = ", ".join(f"{shown.image.width}x{shown.image.height}" for shown in images)
        if images:
            text += f"[{len(images)} {name}{'s' if len(images) > 1 else ''}: {sizes}] "
    return text
