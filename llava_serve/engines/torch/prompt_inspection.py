"""Prompt inspector: what a request becomes, told by the code that prepares it for its answer."""

import threading
from collections.abc import Iterator

from llava_serve.chat.markers import TemplateText, UserText
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.media_places import media_places
from llava_serve.engines.torch.feature_count import FeatureCounter
from llava_serve.engines.torch.kv_cache import KVAllocator
from llava_serve.engines.torch.prompt import PromptProcessor, media_of
from llava_serve.engines.torch.tile_inspection import InspectedTiles, inspect_image, inspect_video
from llava_serve.engines.torch.vision import Item, PromptLayout, is_overview, lay_out
from llava_serve.errors import ContextOverflow, TextTooLong
from llava_serve.protocol.inspection import (
    InspectedMedia,
    InspectedMessage,
    InspectedPrompt,
    Inspection,
    PromptSegment,
)
from llava_serve.request import Conversation, Image, InspectRequest

MOST_SHOWN = 64  # tiles and frames of an answer that are sent as images
NamedMedia = tuple[str, InspectedMedia]  # the content hash comes first


class PromptInspector:
    """Inspects requests for one engine; safe to call from any thread."""

    def __init__(
        self, loaded: LoadedModel, processor: PromptProcessor, allocator: KVAllocator
    ) -> None:
        self._loaded = loaded
        self._processor = processor
        self._allocator = allocator
        self._counter = FeatureCounter(loaded)

    def inspect(self, request: InspectRequest, stopped: threading.Event) -> Inspection:
        """Tell what the request becomes.

        Raises:
            BadRequest: its prompt cannot be rendered.
        """
        conversation, context = request.conversation, self._processor.context
        try:
            items = self._processor.tokenize(conversation, stopped)
        except TextTooLong:
            items = None
        media = self._media(conversation, request.with_pixels)
        prompt = None if items is None else self._prompt(conversation, items, media)
        max_tokens, fits = request.sampling.max_new_tokens, False
        if prompt is not None:
            try:
                max_tokens = self._processor.max_new_tokens(prompt.tokens, request.sampling)
                fits = True
            except ContextOverflow:
                pass
        return Inspection(
            model=self._loaded.name,
            media=[told for _, told in media],
            prompt=prompt,
            context_length=context,
            fits=fits,
            tokens_left=max(context - prompt.tokens, 0) if prompt else 0,
            max_tokens=max_tokens,
        )

    def tokens_of(self, conversation: Conversation, stopped: threading.Event) -> list[int]:
        """Return the tokens of a conversation, with the image token for each feature row.

        Raises:
            BadRequest: it cannot be rendered, or is far too long.
        """
        items = self._processor.tokenize(conversation, stopped)
        return self._lay_out(conversation, items, self._media(conversation, False)).tokens

    def _media(self, conversation: Conversation, with_pixels: bool) -> list[NamedMedia]:
        """Return each image and video by its content hash."""
        features = self._processor.features
        places = media_places(conversation)
        named = features.hashed([media for _, media in places])
        tiles = features.preprocess([media for _, media in places], skips_cached=False)
        inspected: list[NamedMedia] = []
        shown = 0  # tiles
        for (index, _), (name, media) in zip(places, named, strict=True):
            shown += len(tiles[name])
            seen = InspectedTiles(
                message=index,
                values=tiles[name],
                patches=features.patches,
                is_cached=features.holds(name),
                with_pixels=with_pixels and shown <= MOST_SHOWN,
                is_overview=is_overview(name),
            )
            told = (
                inspect_image(self._loaded, self._counter, media, seen)
                if isinstance(media, Image)
                else inspect_video(self._loaded, self._counter, media, seen)
            )
            inspected.append((name, told))
        return inspected

    def _prompt(
        self, conversation: Conversation, items: list[Item], media: list[NamedMedia]
    ) -> InspectedPrompt:
        layout = self._lay_out(conversation, items, media)
        messages = [
            InspectedMessage(
                role=message.role,
                text_tokens=len(self._processor.tokenizer.encode("".join(message.texts))),
                media_tokens=sum(told.tokens for _, told in media if told.message == index),
            )
            for index, message in enumerate(conversation.messages)
        ]
        of_messages = sum(each.text_tokens + each.media_tokens for each in messages)
        return InspectedPrompt(
            segments=list(self._segments(conversation)),
            tokens=len(layout.tokens),
            template_tokens=len(layout.tokens) - of_messages,
            media_tokens=sum(told.tokens for _, told in media),
            cached_tokens=self._allocator.count_cached(layout.cache_key),
            messages=messages,
        )

    def _lay_out(
        self, conversation: Conversation, items: list[Item], media: list[NamedMedia]
    ) -> PromptLayout:
        places = [id(each) for _, each in media_places(conversation)]
        placed = [media[places.index(id(item))] for item in media_of(items)]
        return lay_out(self._loaded, items, [(name, told.tokens) for name, told in placed])

    def _segments(self, conversation: Conversation) -> Iterator[PromptSegment]:
        places = [id(each) for _, each in media_places(conversation)]
        tokenizer = self._processor.tokenizer
        rendered = tokenizer.render(conversation)
        first = rendered[0]
        if not (isinstance(first, TemplateText) and first.text.startswith(tokenizer.prefix)):
            yield PromptSegment(type="template", text=tokenizer.prefix)
        for each in rendered:
            if isinstance(each, TemplateText):
                yield PromptSegment(type="template", text=each.text)
            elif isinstance(each, UserText):
                yield PromptSegment(type="text", text=each.text)
            else:
                yield PromptSegment(type="media", media=places.index(id(each)))
