"""Prompt processor: a request becomes tokens and tiles, then embeddings ready for prefill.

What people wrote is kept out of the special tokens.
"""

import re
import threading
import time
from collections.abc import Collection, Iterable
from typing import Any

from transformers import PreTrainedTokenizerBase

from llava_serve.chat.markers import Segment, TemplateText, UserText
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.text_length import TextLengthCheck, texts_of
from llava_serve.engines.torch.output import OutputProcessor
from llava_serve.engines.torch.sampling import SamplerState
from llava_serve.engines.torch.sequence import PreprocessedPrompt, Sequence
from llava_serve.engines.torch.tool_grammar import tools_of
from llava_serve.engines.torch.vision import (
    ImageFeatureCache,
    Item,
    Media,
    merge_image_features,
)
from llava_serve.errors import ContextOverflow, InvalidField, MediaNotAccepted, TextTooLong
from llava_serve.protocol.resume import RESUME_TOKENS
from llava_serve.request import Conversation, Image, ReadyPrompt, SamplingParams, Video


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


class PromptTokenizer:
    """Tokenises prompts for one checkpoint."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._format = loaded.format
        self._tokenizer: PreTrainedTokenizerBase = loaded.tokenizer
        added = loaded.tokenizer.added_tokens_decoder
        special = set(loaded.tokenizer.all_special_ids)
        special |= {token_id for token_id, token in added.items() if token.special}
        media_ids = ((loaded.image_token_id, Image), (loaded.video_token_id, Video))
        self._media_ids = {token_id: kind for token_id, kind in media_ids if token_id is not None}
        special |= {each for each in self._media_ids if each >= 0}  # others are no tokens
        special.discard(loaded.tokenizer.unk_token_id)  # what unknown characters become
        self._special = special
        self._ids = {str(loaded.tokenizer.convert_ids_to_tokens(i)): i for i in special}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        self._prefix: list[int] = loaded.tokenizer("").input_ids
        self.prefix = "".join(map(str, loaded.tokenizer.convert_ids_to_tokens(self._prefix)))

    def tokenize(
        self, prompt: Conversation | ReadyPrompt, *, is_prefixed: bool = True
    ) -> list[Item]:
        """Return token ids, with each image and video at its place among them.

        Without `is_prefixed` the tokens that every prompt begins with are not added.

        Raises:
            BadRequest: the conversation or the prompt cannot be rendered.
        """
        segments = self.render(prompt)
        is_ready = isinstance(prompt, ReadyPrompt)
        if is_ready or self._format.per_chunk:
            items = self._by_chunk(segments)
            self.refuse_placeholders(items, "prompt" if is_ready else "messages")
        else:
            items = self._whole(segments)
        return self._prefixed(items) if is_prefixed else items

    def render(self, prompt: Conversation | ReadyPrompt) -> list[Segment]:
        """Return what is tokenised, but for the tokens that every prompt begins with.

        Raises:
            BadRequest: the conversation or the prompt cannot be rendered.
        """
        if isinstance(prompt, ReadyPrompt):
            return _segments(prompt)
        if self._loaded.frames is None and any(message.videos for message in prompt.messages):
            raise MediaNotAccepted(self._loaded.name, "video")
        return self._format.render(prompt)

    def _prefixed(self, items: list[Item]) -> list[Item]:
        prefix = self._prefix
        return items if items[: len(prefix)] == prefix else [*prefix, *items]

    def _whole(self, segments: list[Segment]) -> list[Item]:
        """Tokenise as transformers' processors do: one text, placeholders in it."""
        placeholders = {
            kind: str(self._tokenizer.convert_ids_to_tokens(token_id))
            for token_id, kind in self._media_ids.items()
        }
        texts = [
            segment
            if isinstance(segment, TemplateText | UserText)
            else TemplateText(placeholders[type(segment)])
            for segment in segments
        ]
        media = iter([segment for segment in segments if isinstance(segment, Image | Video)])
        return [
            next(media) if token_id in self._media_ids else token_id
            for token_id in self._encode(texts)
        ]

    def _by_chunk(self, segments: list[Segment]) -> list[Item]:
        """Tokenise as LLaVA's own code does: each text between two images by itself.

        Source: haotian-liu/LLaVA@c121f04, llava/mm_utils.py::tokenizer_image_token.
        """
        items: list[Item] = []
        chunk: list[TemplateText | UserText] = []
        for segment in segments:
            if isinstance(segment, TemplateText | UserText):
                chunk.append(segment)
                continue
            items += [*self._encode(chunk), segment]
            chunk = []
        return items + self._encode(chunk)

    def _encode(self, texts: Iterable[TemplateText | UserText]) -> list[int]:
        """Tokenise adjoining texts as one, so that tokens may span them.

        Special tokens beyond those of the markup can only come from what was said; the text is then
        cut at the markup's own special tokens and the rest is read without any.
        """
        ids = self._plain_encode("".join(text.text for text in texts), split_special_tokens=False)
        in_markup = sum(
            len(self._pattern.findall(text.text))
            for text in texts
            if isinstance(text, TemplateText)
        )
        if sum(token_id in self._special for token_id in ids) == in_markup:
            return ids
        ids, run = [], ""
        for text in texts:
            is_template = isinstance(text, TemplateText)
            parts = self._pattern.split(text.text) if is_template else [text.text]
            for i, part in enumerate(parts):
                if i % 2 == 0:
                    run += part
                    continue
                ids += self._without_special(run)
                ids.append(self._ids[part])
                run = ""
        return ids + self._without_special(run)

    def _without_special(self, text: str) -> list[int]:
        ids = self._plain_encode(text, split_special_tokens=True)
        self.refuse_placeholders(ids)
        return ids

    def refuse_placeholders(self, items: Iterable[Item], field: str = "messages") -> None:
        """Refuse a text that this tokenizer can read only as the place of an image."""
        for item in items:
            if isinstance(item, int) and item in self._media_ids:
                raise InvalidField(
                    field, f"a text contains {self._tokenizer.convert_ids_to_tokens(item)}"
                )

    def encode(self, text: str) -> list[int]:
        """Tokenise a text in which nothing is special."""
        return self._plain_encode(text, split_special_tokens=True)

    def _plain_encode(self, text: str, split_special_tokens: bool) -> list[int]:
        if self._loaded.legacy_tokenizer is not None:
            return self._loaded.legacy_tokenizer.encode(text, is_user_text=split_special_tokens)
        ids: list[int] = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=split_special_tokens
        ).input_ids
        return ids


def _segments(prompt: ReadyPrompt) -> list[Segment]:
    """Cut a ready prompt at its placeholders; the client's template is trusted as markup."""
    first, *others = map(TemplateText, prompt.chunks())
    pairs = zip(prompt.images, others, strict=True)
    return [first, *(segment for pair in pairs for segment in pair)]
