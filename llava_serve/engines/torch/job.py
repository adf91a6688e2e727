"""One request on its way through the engine: the bridge between the event loop and the thread."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import numpy as np
import torch

from llava_serve.engines.torch.answer import Answer
from llava_serve.engines.torch.cache import Segment
from llava_serve.engines.torch.families import Tiles
from llava_serve.engines.torch.features import Encoding
from llava_serve.engines.torch.prompt import Prompt
from llava_serve.engines.torch.sampling import Chooser
from llava_serve.engines.torch.spans import NOTHING, Keys, Span
from llava_serve.engines.torch.tokens import Item
from llava_serve.errors import ServeError
from llava_serve.request import Delta, GenerateRequest, Stages, Usage

Embed = Callable[[Sequence[int]], torch.Tensor]  # text tokens to (tokens, hidden)


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """A tokenised prompt, and the tiles of those of its pictures whose rows were not kept.

    `vision_s` is how long it took to make the tiles.
    """

    items: list[Item]
    tiles: Mapping[str, Tiles]
    vision_s: float


@dataclass(frozen=True, slots=True)
class Preparation:
    """A prompt whose pictures and clips may still be on their way; `encodings` has its order."""

    items: list[Item]
    encodings: list[Encoding]

    @property
    def pending(self) -> list[Encoding]:
        return [encoding for encoding in self.encodings if not encoding.is_done]


class Progress:
    """How far a request has come: what of its tokens is read, and what it has answered.

    Its tokens are the prompt's and the answer's. When it has to give its span back before the end,
    it keeps them, and reads what is no longer cached once more.
    """

    def __init__(self, prompt: Prompt, chooser: Chooser, answer: Answer) -> None:
        self.prompt = prompt
        self.chooser = chooser
        self.answer = answer
        self.tokens = list(prompt.tokens)
        self.cached_tokens = 0  # of the prompt, found in the cache
        self.span: Span | None = None
        self.first_token_at = 0.0
        self._placed_at = 0.0
        self._read = 0

    @property
    def unread(self) -> int:
        return len(self.tokens) - self._read

    @property
    def is_answering(self) -> bool:
        return self.unread == 1 and self._read >= len(self.prompt.tokens)

    @property
    def room(self) -> int:
        """How many more tokens its span can take."""
        return self._held.capacity - self._read

    @property
    def keys(self) -> Keys:
        """What all of its tokens are called in the cache."""
        answered = np.array(self.tokens[len(self.prompt.tokens) :], dtype=np.int64)
        return np.concatenate([self.prompt.keys, answered])

    @property
    def filled(self) -> Keys:
        """The keys of what its span holds."""
        return self.keys[: self._read]

    def hold(self, span: Span, reused: int) -> None:
        """Take a span whose first `reused` places are filled."""
        self.span = span
        self._read = reused
        if not self._placed_at:  # the first time: later it finds what it read itself
            self.cached_tokens = reused
            self._placed_at = time.monotonic()

    def move(self, span: Span) -> None:
        """Take a larger span, into which everything was copied."""
        self.span = span

    def give_back(self) -> None:
        self.span = None
        self._read = 0

    @property
    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=len(self.prompt.tokens),
            completion_tokens=self.answer.token_count,
            image_tokens=self.prompt.image_tokens,
            cached_tokens=self.cached_tokens,
        )

    def stages(self, arrived_at: float, vision_s: float) -> Stages:
        """Say where the time went since the request arrived, which is known of its pictures."""
        return Stages(
            queue_s=self._placed_at - arrived_at - vision_s,
            vision_s=vision_s,
            prefill_s=self.first_token_at - self._placed_at,
            decode_s=time.monotonic() - self.first_token_at,
        )

    def segment(self, offset: int, count: int) -> Segment:
        """Place the next `count` unread tokens at `offset` of a flat batch."""
        return Segment(offset, count, self._held.start, self._read)

    def embeddings(self, count: int, embed: Embed) -> torch.Tensor:
        """Return what the model reads for the next `count` unread tokens: (count, hidden)."""
        end = self._read + count
        rows = self.prompt.embeddings[self._read : end]
        answered = self.tokens[max(self._read, len(self.prompt.tokens)) : end]
        return torch.cat([rows, embed(answered)]) if answered else rows

    def advance(self, count: int) -> None:
        """Note that the model has read `count` more tokens."""
        self._read += count
        if self.unread == 0 and len(self._held.coming):
            self._held.keys, self._held.coming = self._held.coming, NOTHING

    @property
    def _held(self) -> Span:
        assert self.span is not None  # only who has a slot reads
        return self.span


@dataclass(eq=False, slots=True)
class Job:
    """Made on the event loop; `put` and `release` are called by the engine thread only."""

    request: GenerateRequest
    loop: asyncio.AbstractEventLoop
    preprocessed: Preprocessed | None
    arrived_at: float
    vision_s: float  # spent on its pictures so far
    preparation: Preparation | None = None  # from when its prompt is tokens
    prepared: Progress | None = None  # from when its pictures are rows
    _deltas: asyncio.Queue[Delta | ServeError] = field(default_factory=asyncio.Queue)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def progress(self) -> Progress:
        assert self.prepared is not None  # only who is prepared is asked
        return self.prepared

    @property
    def pending(self) -> list[Encoding]:
        """What of its pictures and clips is not encoded."""
        return [] if self.preparation is None else self.preparation.pending

    @property
    def unread(self) -> int:
        return self.progress.unread

    @property
    def is_answering(self) -> bool:
        return self.progress.is_answering

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def put(self, item: Delta | ServeError) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self.loop.call_soon_threadsafe(self._deltas.put_nowait, item)

    def release(self) -> None:
        """Say that the engine has nothing left of this job."""
        self.preparation = self.prepared = None
        self.preprocessed = None
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._released.set)

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
        self._cancelled.set()
        with anyio.CancelScope(shield=True):  # a cancelled request still waits for the engine
            await self._released.wait()
