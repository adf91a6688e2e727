"""Sequence: one request inside the engine, with its status, tokens, KV region and output."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

import anyio
import numpy as np

from llava_serve.engines.torch.grammar import GrammarMatcher
from llava_serve.engines.torch.kv_cache import Allocation, CacheKey, KVRegion
from llava_serve.engines.torch.output import OutputProcessor
from llava_serve.engines.torch.penalties import TokenHistory
from llava_serve.engines.torch.sampling import SamplerState
from llava_serve.engines.torch.vision import EmbeddedPrompt, ImageFeatures, Item, TilesByHash
from llava_serve.errors import ServeError
from llava_serve.request import Delta, GenerateRequest, Stages, Usage


class Status(Enum):
    """What a sequence is doing; a preempted one is READY again."""

    WAITING = auto()  # its images have not been looked up
    ENCODING = auto()  # its images go through the vision tower
    READY = auto()  # its prompt is complete: it waits for a slot and a KV region, maybe once more
    PREFILL = auto()  # its prompt is computed, and what it had generated when it was preempted
    DECODE = auto()  # each step generates a token
    FINISHED = auto()  # it is answered, or it failed, or the client left


@dataclass(frozen=True, slots=True)
class PreprocessedPrompt:
    """A tokenised prompt, and the tiles of those of its images that were not cached.

    `vision_s` is how long it took to make the tiles.
    """

    items: list[Item]
    tiles: TilesByHash
    vision_s: float


class DeltaQueue:
    """Deltas from the engine thread to the event loop; cancellation goes the other way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._deltas: asyncio.Queue[Delta | ServeError] = asyncio.Queue()
        self._closed = asyncio.Event()
        self.is_cancelled = False  # set on the loop, read by the engine thread

    def put(self, item: Delta | ServeError) -> None:
        """Called by the engine thread only, as `close` is."""
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._deltas.put_nowait, item)

    def close(self) -> None:
        """Say that the engine has nothing left of this sequence."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._closed.set)

    async def next(self) -> Delta:
        """Wait for the next delta.

        Raises:
            ServeError: what ended the request instead.
        """
        item = await self._deltas.get()
        if isinstance(item, ServeError):
            raise item
        return item

    async def cancel(self) -> None:
        """Ask the engine to stop, and wait until it has."""
        self.is_cancelled = True
        with anyio.CancelScope(shield=True):  # a cancelled request still waits for the engine
            await self._closed.wait()


class Sequence:
    """One request on the engine thread; the event loop keeps its `deltas` only.

    Its tokens are the prompt's and the generated ones. A preempted sequence keeps them, and what
    the prefix cache has lost is computed once more.
    """

    # From READY on.
    prompt: EmbeddedPrompt
    sampler: SamplerState
    output: OutputProcessor
    tokens: list[int]
    # In PREFILL and DECODE.
    region: KVRegion

    def __init__(
        self,
        request: GenerateRequest,
        preprocessed: PreprocessedPrompt,
        deltas: DeltaQueue,
        arrived_at: float,
        matcher: GrammarMatcher | None = None,
    ) -> None:
        self.status = Status.WAITING
        self.request = request
        self.deltas = deltas
        self.matcher = matcher  # of the grammar that its answer follows
        self.items = preprocessed.items
        self.tiles = preprocessed.tiles
        self.features: list[ImageFeatures] = []
        self.vision_s = preprocessed.vision_s  # spent on its images so far
        self.num_computed_tokens = 0
        self.num_cached_tokens = 0  # of the prompt, when it was first allocated
        self._arrived_at = arrived_at
        self._allocated_at = 0.0
        self._first_token_at = 0.0
        self._num_told = 0  # generated tokens that a delta has told

    @property
    def is_running(self) -> bool:
        """Say whether it has a slot and a KV region."""
        return self.status is Status.PREFILL or self.status is Status.DECODE

    @property
    def features_left(self) -> list[ImageFeatures]:
        """Features of those images that the vision tower has not finished."""
        return [each for each in self.features if not each.is_complete]

    @property
    def num_uncomputed_tokens(self) -> int:
        return len(self.tokens) - self.num_computed_tokens

    @property
    def history(self) -> TokenHistory:
        """What the choice of its next token may depend on."""
        return TokenHistory(self.tokens, len(self.prompt.tokens))

    @property
    def cache_key(self) -> CacheKey:
        """What all of its tokens are called in the KV cache."""
        generated = np.array(self.tokens[len(self.prompt.tokens) :], dtype=np.int64)
        return np.concatenate([self.prompt.cache_key, generated])

    @property
    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=len(self.prompt.tokens),
            completion_tokens=self.output.num_tokens,
            image_tokens=self.prompt.image_tokens,
            cached_tokens=self.num_cached_tokens,
        )

    def generated_tokens(self, start: int, end: int) -> list[int]:
        """Return those of its tokens `start` to `end` that are not the prompt's."""
        return self.tokens[max(start, len(self.prompt.tokens)) : end]

    def start_encoding(self, features: list[ImageFeatures]) -> None:
        """Wait for the features of its images."""
        self.features = features
        self.tiles = {}  # `features` hold those that are needed
        self.status = Status.ENCODING

    def complete_prompt(
        self, prompt: EmbeddedPrompt, sampler: SamplerState, output: OutputProcessor
    ) -> None:
        """Take the prompt with all features in it; a slot and a KV region come next."""
        self.prompt, self.sampler, self.output = prompt, sampler, output
        self.tokens = list(prompt.tokens)
        self.features = []  # the prompt has a copy of their rows
        self.status = Status.READY

    def replay(self, tokens: tuple[int, ...]) -> Delta:
        """Take tokens that another engine generated as if this one had, and return their text."""
        text = ""
        for token in tokens:
            self.sampler.skip()
            text += self._process(token)
        self._num_told = len(tokens)
        return Delta(text, is_replay=True)

    def start_prefill(self, allocation: Allocation) -> None:
        """Take a slot and a region, whose cached tokens need no computing."""
        self.region = allocation.region
        self.num_computed_tokens = allocation.num_cached_tokens
        if not self._allocated_at:  # later it finds what it has computed itself
            self.num_cached_tokens = allocation.num_cached_tokens
            self._allocated_at = time.monotonic()
        self._set_running()

    def advance(self, count: int) -> None:
        """Note that the model has computed `count` more tokens."""
        self.num_computed_tokens += count
        if self.num_uncomputed_tokens == 0:
            self.region.end_prefill()
        self._set_running()

    def append(self, token: int) -> Delta | None:
        """Take a sampled token; returns the delta to send, if it has text or is the last."""
        if not self._first_token_at:
            self._first_token_at = time.monotonic()
        text, reason = self._process(token), self.output.finish_reason
        if not (text or reason):
            return None
        logprobs = self.output.take_logprobs() if text else ()
        if reason is None:
            told, self._num_told = self._num_told, self.output.num_tokens
            tokens = tuple(self.tokens[len(self.prompt.tokens) + told :])
            return Delta(text, so_far=self.usage, logprobs=logprobs, tokens=tokens)
        stages, stop = self._stages(), self.output.stop
        return Delta(text, reason, self.usage, stages, logprobs=logprobs, stop=stop)

    def _process(self, token: int) -> str:
        self.tokens.append(token)
        if self.matcher is None:
            return self.output.process(token)
        self.matcher.accept(token)
        return self.output.process(token, is_last=self.matcher.is_complete)

    def leave_region(self) -> CacheKey:
        """Give up slot and region; returns the key of what is computed in it."""
        computed = self.cache_key[: self.num_computed_tokens]
        self.num_computed_tokens = 0
        self.status = Status.READY
        return computed

    def _set_running(self) -> None:
        has_prompt = self.num_computed_tokens >= len(self.prompt.tokens)
        is_decoding = has_prompt and self.num_uncomputed_tokens <= 1
        self.status = Status.DECODE if is_decoding else Status.PREFILL

    def _stages(self) -> Stages:
        return Stages(
            queue_s=self._allocated_at - self._arrived_at - self.vision_s,
            vision_s=self.vision_s,
            prefill_s=self._first_token_at - self._allocated_at,
            decode_s=time.monotonic() - self._first_token_at,
        )
