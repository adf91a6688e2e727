"""Parts of a message's content: texts, images and videos, in OpenAI's words."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from llava_serve.protocol.integer import Positive
from llava_serve.protocol.strict import ANYTHING, Neutral, Strict


def _as_url(image_url: Any) -> Any:
    return {"url": image_url} if isinstance(image_url, str) else image_url


class ImageUrl(Strict):
    url: str
    # `low`: one tile of the whole picture. Else it is seen as finely as the checkpoint can.
    detail: Literal["auto", "high", "low"] | None = None


class VideoUrl(Strict):
    neutral: ClassVar[Neutral] = {"detail": (None, "auto", "high")}

    url: str
    num_frames: Positive | None = None  # None: the worker's --num-frames


def _of_other_parts(own: str) -> Neutral:
    """Return the fields that a part has where a client writes all of them, those of others null."""
    fields = {"text", "image_url", "video_url", "input_audio", "file", "refusal"}
    others = dict.fromkeys([*sorted(fields - {own}), "prompt_cache_breakpoint"], (None,))
    # What is read again is cached anyway.
    return {**others, "cache_control": ANYTHING, "uuid": ANYTHING}


class TextPart(Strict):
    neutral: ClassVar[Neutral] = _of_other_parts("text")

    type: Literal["text"]
    text: str


class ImagePart(Strict):
    neutral: ClassVar[Neutral] = _of_other_parts("image_url")

    type: Literal["image_url"]
    image_url: Annotated[ImageUrl, BeforeValidator(_as_url)]  # some clients send the plain URL


class VideoPart(Strict):
    neutral: ClassVar[Neutral] = _of_other_parts("video_url")

    type: Literal["video_url"]
    video_url: VideoUrl


ContentPart = Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]


def _form(content: Any) -> str:
    return "text" if isinstance(content, str) else "parts"


def _said(content: Any) -> Any:
    if isinstance(content, str | list):
        return content
    raise PydanticCustomError(
        "content_form",
        "is null, which only a turn of the assistant with tool_calls may be; one without words "
        'has ""'
        if content is None
        else "must be a text or a list of parts",
    )


# Told apart by form, so that an error is about the form the caller chose.
Content = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[ContentPart], Tag("parts")],
    Discriminator(_form),
    BeforeValidator(_said),
]
