"""Prompt processor: a request becomes tokens and tiles, then embeddings ready for prefill."""

import threading
import time
from collections.abc import Collection, Iterable
from typing import Any

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.text_length import TextLengthCheck, texts_of
from llava_serve.engines.torch.output import OutputProcessor
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.engines.torch.sampling import SamplerState
from llava_serve.engines.torch.sequence import PreprocessedPrompt, Sequence
from llava_serve.engines.torch.tool_grammar import tools_of
from llava_serve.engines.torch.vision import (
    ImageFeatureCache,
    Item,
    Media,
    merge_image_features,
)
from llava_serve.errors import ContextOverflow, InvalidField, TextTooLong
from llava_serve.protocol.resume import RESUME_TOKENS
from llava_serve.request import Conversation, ReadyPrompt, SamplingParams


class PromptProcessor:
    """Prepares sequences for one checkpoint, whose context holds `context` tokens."""

    def __init__(self, loaded: LoadedModel, features: ImageFeatureCache, context: int) -> None:
        self.features = features
        self._loaded = loaded
        self.context = context
        self.tokenizer = PromptTokenizer(loaded)
        self._text_length = TextLengthCheck(
            self.tokenizer.encode, loaded.tokenizer.get_vocab(), context
        )
        self._tokenizing = threading.Lock()  # a long text takes memory: one at a time

    def preprocess(
        self, prompt: Conversation | ReadyPrompt, stopped: threading.Event
    ) -> PreprocessedPrompt:
        """Tokenise the prompt and cut its images into tiles; safe to call from any thread.

        Once `stopped` is set nobody wants the result, and the work ends at its next stage.

        Raises:
            BadRequest: the prompt cannot be rendered, or its text cannot fit into the context.
        """
        items = self.tokenize(prompt, stopped)
        started = time.monotonic()
        tiles = self.features.preprocess(media_of(items))
        return PreprocessedPrompt(items, tiles, time.monotonic() - started)

    def tokenize(
        self,
        prompt: Conversation | ReadyPrompt,
        stopped: threading.Event,
        *,
        is_prefixed: bool = True,
    ) -> list[Item]:
        """Tokenise the prompt, with its images and videos among the tokens; raises the same."""
        if isinstance(prompt, ReadyPrompt) and prompt.tokens:
            return self._checked(prompt.tokens)
        with self._tokenizing:
            self._text_length.check(texts_of(prompt), stopped)
            return self.tokenizer.tokenize(prompt, is_prefixed=is_prefixed)

    def _checked(self, tokens: tuple[int, ...]) -> list[Item]:
        if len(tokens) > self.context:
            raise TextTooLong(f"{len(tokens)} tokens", self.context)
        embed: Any = self._loaded.model.get_input_embeddings()
        if (largest := max(tokens)) >= embed.num_embeddings:
            raise InvalidField("prompt", f"{largest} is no token of this model")
        items: list[Item] = [*tokens]
        self.tokenizer.refuse_placeholders(items, "prompt")
        return items

    def look_up_features(self, sequence: Sequence) -> None:
        """Look up the features of its images; those not cached have the tower before them."""
        media = media_of(sequence.items)
        sequence.start_encoding(self.features.look_up(media, sequence.tiles))

    def complete(self, sequence: Sequence) -> None:
        """Make its prompt ready for prefill, once its images are encoded.

        Raises:
            ContextOverflow: the context does not hold prompt and answer.
            InvalidField: the tokens that it goes on with are none of an answer that goes on.
        """
        loaded, sampling = self._loaded, sequence.request.sampling
        prompt = merge_image_features(loaded, sequence.items, sequence.features)
        limit = self.max_new_tokens(len(prompt.tokens), sampling)
        ends: Collection[int] = loaded.stop_ids
        stops = loaded.format.stops
        if sequence.matcher is not None:  # a text cannot end an answer that follows a grammar
            ends, stops = sequence.matcher.ends, ()
        output = OutputProcessor(loaded.tokenizer, sampling, ends, stops, limit)
        if tools_of(sequence.request) and loaded.format.tool_calls is not None:
            output.show(loaded.format.tool_calls.mark)
        # With a grammar every space counts.
        if sequence.request.prompt.continues or sequence.matcher is not None:
            output.continue_from(prompt.tokens)
        sequence.complete_prompt(prompt, SamplerState.of(sampling), output)
        if resumed := sequence.request.resumed:
            embed: Any = loaded.model.get_input_embeddings()
            if max(resumed) >= embed.num_embeddings or min(resumed) < 0 or len(resumed) >= limit:
                raise InvalidField(RESUME_TOKENS, "holds what this model has not generated")
            sequence.deltas.put(sequence.replay(resumed))
            if output.finish_reason is not None:
                raise InvalidField(RESUME_TOKENS, "ends the answer")

    def max_new_tokens(self, prompt_tokens: int, sampling: SamplingParams) -> int:
        """Return how many tokens the answer may have. Raises: ContextOverflow."""
        left = self.context - prompt_tokens
        limit = left if sampling.max_new_tokens is None else sampling.max_new_tokens
        if limit > left or left < 1:
            raise ContextOverflow(prompt_tokens, max(limit, 1), self.context)
        return limit


def media_of(items: Iterable[Item]) -> list[Media]:
    """Return the images and videos of a tokenised prompt, in order."""
    return [item for item in items if not isinstance(item, int)]
