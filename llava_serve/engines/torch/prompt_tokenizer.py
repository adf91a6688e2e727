"""Prompt tokenizer: a rendered conversation becomes token ids, with images among them.

What people wrote is kept out of the special tokens.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from transformers import PreTrainedTokenizerBase

from llava_serve.chat.markers import Segment, TemplateText, UserText
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.placed_tokens import PlacedTokens, TextPlace, moved
from llava_serve.engines.torch.vision import Item
from llava_serve.errors import InvalidField, MediaNotAccepted
from llava_serve.request import Conversation, Image, ReadyPrompt, Video


@dataclass(slots=True)
class PlacedItems:
    """The items of a prompt, and where they are from in the text of all its segments.

    `places` has that of each item, as in `PlacedTokens`, if it was asked for, and `bounds` where
    each segment begins, and the last one ends.
    """

    items: list[Item]
    places: list[TextPlace]
    bounds: list[int]


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

    @property
    def tells_places(self) -> bool:
        """Say whether this tokenizer can tell which characters a token is of."""
        return self._loaded.legacy_tokenizer is not None or self._tokenizer.is_fast

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
        by_chunk = is_ready or self._format.per_chunk
        field = "prompt" if is_ready else "messages"
        items = self._items(segments, by_chunk, field, with_places=False).items
        return [*self._missing_prefix(items), *items] if is_prefixed else items

    def place(self, segments: Sequence[Segment]) -> PlacedItems:
        """Tokenise what a conversation was rendered to, and tell where each token is from.

        The tokens that every prompt begins with, if they are added, are from no place: (-1, -1).

        Raises:
            BadRequest: a text in it cannot be read as one.
        """
        placed = self._items(segments, self._format.per_chunk, "messages", with_places=True)
        prefix = self._missing_prefix(placed.items)
        placed.items[:0] = prefix
        placed.places[:0] = [(-1, -1)] * len(prefix)
        return placed

    def render(self, prompt: Conversation | ReadyPrompt) -> list[Segment]:
        """Return what is tokenised, but for the tokens that every prompt begins with.

        Raises:
            BadRequest: the conversation or the prompt cannot be rendered.
        """
        if isinstance(prompt, ReadyPrompt):
            return _segments(prompt)
        self._check_media(prompt)
        return self._format.render(prompt)

    def render_answered(self, conversation: Conversation) -> list[Segment]:
        """Return the same of a conversation that ends with an answer to learn from; raises it too.

        Its answers are segments of their own.
        """
        self._check_media(conversation)
        return self._format.render_answered(conversation)

    def _check_media(self, conversation: Conversation) -> None:
        has_video = any(message.videos for message in conversation.messages)
        if has_video and self._loaded.frames is None:
            raise MediaNotAccepted(self._loaded.name, "video")

    def _missing_prefix(self, items: list[Item]) -> list[int]:
        prefix = self._prefix
        return [] if items[: len(prefix)] == prefix else prefix

    def _items(
        self, segments: Sequence[Segment], by_chunk: bool, field: str, *, with_places: bool
    ) -> PlacedItems:
        if not by_chunk:
            return self._whole(segments, with_places)
        placed = self._by_chunk(segments, with_places)
        self.refuse_placeholders(placed.items, field)
        return placed

    def _whole(self, segments: Sequence[Segment], with_places: bool) -> PlacedItems:
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
        bounds = list(accumulate((len(text.text) for text in texts), initial=0))
        media = iter([segment for segment in segments if isinstance(segment, Image | Video)])
        tokens = self._encode(texts, with_places)
        items: list[Item] = [
            next(media) if token_id in self._media_ids else token_id for token_id in tokens.ids
        ]
        return PlacedItems(items, tokens.places, bounds)

    def _by_chunk(self, segments: Sequence[Segment], with_places: bool) -> PlacedItems:
        """Tokenise as LLaVA's own code does: each text between two images by itself.

        Source: haotian-liu/LLaVA@c121f04, llava/mm_utils.py::tokenizer_image_token.
        """
        placed = PlacedItems([], [], [0])
        chunk: list[TemplateText | UserText] = []
        start = 0
        for segment in [*segments, None]:
            if isinstance(segment, TemplateText | UserText):
                chunk.append(segment)
                placed.bounds.append(placed.bounds[-1] + len(segment.text))
                continue
            tokens = self._encode(chunk, with_places)
            placed.items += tokens.ids
            placed.places += moved(tokens.places, start)
            chunk, start = [], placed.bounds[-1]
            if segment is not None:
                placed.items.append(segment)
                placed.places += [(start, start)] if with_places else []
                placed.bounds.append(start)
        return placed

    def _encode(self, texts: Sequence[TemplateText | UserText], with_places: bool) -> PlacedTokens:
        """Tokenise adjoining texts as one, so that tokens may span them.

        Special tokens beyond those of the markup can only come from what was said; the text is then
        cut at the markup's own special tokens and the rest is read without any.
        """
        tokens = self._read(
            "".join(text.text for text in texts), is_user_text=False, with_places=with_places
        )
        in_markup = sum(
            len(self._pattern.findall(text.text))
            for text in texts
            if isinstance(text, TemplateText)
        )
        if sum(token_id in self._special for token_id in tokens.ids) == in_markup:
            return tokens
        tokens, run, start = PlacedTokens(), "", 0
        for text in texts:
            is_template = isinstance(text, TemplateText)
            parts = self._pattern.split(text.text) if is_template else [text.text]
            for i, part in enumerate(parts):
                if i % 2 == 0:
                    run += part
                    continue
                tokens.add(self._without_special(run, with_places), start)
                start += len(run)
                place = [(0, len(part))] if with_places else []
                tokens.add(PlacedTokens([self._ids[part]], place), start)
                start += len(part)
                run = ""
        tokens.add(self._without_special(run, with_places), start)
        return tokens

    def _without_special(self, text: str, with_places: bool) -> PlacedTokens:
        tokens = self._read(text, is_user_text=True, with_places=with_places)
        self.refuse_placeholders(tokens.ids)
        return tokens

    def refuse_placeholders(self, items: Iterable[Item], field: str = "messages") -> None:
        """Refuse a text that this tokenizer can read only as the place of an image."""
        for item in items:
            if isinstance(item, int) and item in self._media_ids:
                raise InvalidField(
                    field, f"a text contains {self._tokenizer.convert_ids_to_tokens(item)}"
                )

    def encode(self, text: str) -> list[int]:
        """Tokenise a text in which nothing is special."""
        return self._read(text, is_user_text=True, with_places=False).ids

    def _read(self, text: str, *, is_user_text: bool, with_places: bool) -> PlacedTokens:
        if (legacy := self._loaded.legacy_tokenizer) is not None:
            return legacy.tokens(text, is_user_text=is_user_text, with_places=with_places)
        read = self._tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=is_user_text,
            return_offsets_mapping=with_places,
        )
        return PlacedTokens(read.input_ids, read.offset_mapping if with_places else [])


def _segments(prompt: ReadyPrompt) -> list[Segment]:
    """Cut a ready prompt at its placeholders; the client's template is trusted as markup."""
    first, *others = map(TemplateText, prompt.chunks())
    pairs = zip(prompt.images, others, strict=True)
    return [first, *(segment for pair in pairs for segment in pair)]
