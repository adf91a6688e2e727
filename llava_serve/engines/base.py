"""Engine protocol: a validated request in, deltas out, nothing left running."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from llava_serve.protocol.inspection import Inspection
from llava_serve.protocol.model_card import ModelCard
from llava_serve.protocol.tokenization import Detokenization, Tokenization
from llava_serve.request import (
    Delta,
    DetokenizeRequest,
    GenerateRequest,
    InspectRequest,
    TokenizeRequest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """What an engine holds right now, and what its feature cache had, for `/metrics`."""

    kv_tokens_total: int
    kv_tokens_held: int
    kv_tokens_cached: int
    feature_bytes: int
    feature_hits: int
    feature_misses: int


@dataclass(frozen=True, slots=True)
class Load:
    """Answers that are made and that wait, and how many can be made at once."""

    queue_length: int
    capacity: int


class Engine(Protocol):
    """One model that answers requests."""

    slots: int  # answers it makes at once where the flags do not say

    @property
    def precision(self) -> str | None:
        """How the weights are kept; None: there are none here."""
        ...

    @property
    def fingerprint(self) -> str | None:
        """Equal for engines that can go on with each other's answers; None: with no other's."""
        ...

    @property
    def card(self) -> ModelCard:
        """What is served.

        Raises:
            Unavailable: the model runs in another process, and that one is not there.
        """
        ...

    @property
    def healthy(self) -> bool:
        """False after a failure that only a restart of this process cures."""
        ...

    def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        """Yield deltas; closing the generator stops the work within one step, then returns.

        Raises:
            BadRequest: before the first delta, when the request cannot be served.
            EngineFailure: at any point, when the model fails.
        """
        ...

    async def inspect(self, request: InspectRequest) -> Inspection:
        """Tell what the request would become, with the code that prepares it; nothing is generated.

        Raises:
            BadRequest: it cannot be served for another reason than its length, or this engine does
                not prepare its requests itself.
        """
        ...

    async def tokenize(self, request: TokenizeRequest) -> Tokenization:
        """Tell the tokens of a prompt, with all that its images and videos become.

        Raises:
            BadRequest: it cannot be rendered, or is far too long.
        """
        ...

    async def detokenize(self, request: DetokenizeRequest) -> Detokenization:
        """Tell the text of tokens, special ones included.

        Raises:
            BadRequest: one of them is no token of the model.
        """
        ...

    def status(self) -> EngineStatus | None:
        """Return what is held right now; None where nothing is kept. From any thread."""
        ...

    def close(self) -> None:
        """Free the model and its thread; no stream may be open."""
        ...
