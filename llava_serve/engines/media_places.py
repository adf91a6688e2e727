"""Places of media in a conversation: each image and video with its message, and what was sent."""

from llava_serve.protocol.inspection import Size
from llava_serve.request import Conversation, Image, SentFile, Video

MediaPlace = tuple[int, Image | Video]  # the message's index comes first


def media_places(conversation: Conversation) -> list[MediaPlace]:
    """Return all media in their order."""
    return [
        (index, media)
        for index, message in enumerate(conversation.messages)
        for media in message.media
    ]


def sent_file(media: Image | Video, decoded: Size) -> SentFile:
    """Return what is known of the file of an image or video that was decoded to this size."""
    return media.sent or SentFile("", decoded, decoded)
