"""Inspection by the echo engine: words for tokens, and each image or frame as one of them."""

from llava_serve.engines.media_places import media_places, sent_file
from llava_serve.protocol.inspection import (
    InspectedFrame,
    InspectedImage,
    InspectedMedia,
    InspectedMessage,
    InspectedPrompt,
    InspectedTile,
    InspectedVideo,
    Inspection,
    Padding,
    PromptSegment,
    Rectangle,
)
from llava_serve.protocol.model_card import ModelCard
from llava_serve.request import Conversation, Image, InspectRequest, Video


def inspect_words(request: InspectRequest, card: ModelCard, tokens: int) -> Inspection:
    """Tell what becomes of a request whose prompt has so many words, media included."""
    conversation, limit = request.conversation, request.sampling.max_new_tokens
    media = [_inspected(index, each) for index, each in media_places(conversation)]
    messages = [
        InspectedMessage(
            role=message.role,
            text_tokens=sum(len(text.split()) for text in message.texts),
            media_tokens=sum(each.tokens for each in media if each.message == index),
        )
        for index, message in enumerate(conversation.messages)
    ]
    left = card.context_length - tokens
    fits = left >= (limit or 1)
    return Inspection(
        model=card.id,
        media=media,
        prompt=InspectedPrompt(
            segments=_segments(conversation),
            tokens=tokens,
            template_tokens=0,
            media_tokens=sum(each.tokens for each in media),
            cached_tokens=0,
            messages=messages,
        ),
        context_length=card.context_length,
        fits=fits,
        tokens_left=max(left, 0),
        max_tokens=limit or (left if fits else None),
    )


def _segments(conversation: Conversation) -> list[PromptSegment]:
    parts = [part for message in conversation.messages for part in message.parts]
    places = iter(range(len(parts)))
    return [
        PromptSegment(type="text", text=part)
        if isinstance(part, str)
        else PromptSegment(type="media", media=next(places))
        for part in parts
    ]


def _inspected(message: int, media: Image | Video) -> InspectedMedia:
    if isinstance(media, Image):
        return _whole(message, media)
    size = media.frames[0].image.size
    file = sent_file(media, size)
    return InspectedVideo(
        message=message,
        format=file.format,
        sent_size=file.size,
        size=file.upright_size,
        tile_size=size,
        frames=[InspectedFrame(time_s=frame.time_s, tokens=1) for frame in media.frames],
        tokens=len(media.frames),
        newline_tokens=0,
        cached=False,
    )


def _whole(message: int, image: Image) -> InspectedImage:
    size = image.image.size
    file = sent_file(image, size)
    whole = Rectangle(left=0, top=0, right=file.upright_size[0], bottom=file.upright_size[1])
    filled = Rectangle(left=0, top=0, right=size[0], bottom=size[1])
    return InspectedImage(
        message=message,
        format=file.format,
        sent_size=file.size,
        size=file.upright_size,
        decoded_size=size,
        resized_size=size,
        kept=whole,
        padding=Padding(left=0, top=0, right=0, bottom=0),
        canvas_size=size,
        grid=(1, 1),
        tile_size=size,
        tiles=[InspectedTile(overview=False, shows=whole, filled=filled, tokens=1)],
        tokens=1,
        tile_tokens=1,
        overview_tokens=0,
        newline_tokens=0,
        cached=False,
    )
