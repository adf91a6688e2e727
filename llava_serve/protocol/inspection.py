"""Inspections: the answer of `POST /v1/inspect`, a request as its model would see it.

Sizes are (width, height) in pixels, tokens those of the prompt.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Size = tuple[int, int]


class Rectangle(BaseModel):
    """Its edges lie between pixels: a whole image of 4 x 3 is 0, 0, 4, 3."""

    left: float
    top: float
    right: float
    bottom: float


class Padding(BaseModel):
    """Pixels that were added at each side."""

    left: float
    top: float
    right: float
    bottom: float


class InspectedTile(BaseModel):
    """One tile; the `overview` is the whole image beside others that are parts of it.

    It `shows` a rectangle of the upright image, which fills the rectangle `filled` of the tile; the
    rest is padding. `pixels` is a `data:` URL of a PNG of what reached the vision tower, reduced.
    """

    overview: bool
    shows: Rectangle
    filled: Rectangle
    tokens: int
    pixels: str | None = None


class InspectedImage(BaseModel):
    """One image of the conversation.

    `size` is upright, and `decoded_size` what was left of a huge one. That was scaled to
    `resized_size`, of which `kept` (in pixels of the upright image) was taken, set into
    `canvas_size` with `padding`, and cut into a grid of (columns, rows).
    """

    type: Literal["image"] = "image"
    message: int
    format: str
    sent_size: Size
    size: Size
    decoded_size: Size
    resized_size: Size
    kept: Rectangle
    padding: Padding
    canvas_size: Size
    grid: tuple[int, int]
    tile_size: Size
    tiles: list[InspectedTile]
    tokens: int
    tile_tokens: int
    overview_tokens: int
    newline_tokens: int
    cached: bool


class InspectedFrame(BaseModel):
    """One frame that was sampled, so many seconds behind the first; None: nobody knows.

    `pixels` are those of its only tile, as those of an `InspectedTile`.
    """

    time_s: float | None
    tokens: int
    pixels: str | None = None


class InspectedVideo(BaseModel):
    """One video of the conversation; `size` is upright, and a frame becomes one tile."""

    type: Literal["video"] = "video"
    message: int
    format: str
    sent_size: Size
    size: Size
    tile_size: Size
    frames: list[InspectedFrame]
    tokens: int
    newline_tokens: int
    cached: bool


InspectedMedia = Annotated[InspectedImage | InspectedVideo, Field(discriminator="type")]


class PromptSegment(BaseModel):
    """A text of the template or of a message, or the place of one of the `media`, by its index."""

    type: Literal["template", "text", "media"]
    text: str | None = None
    media: int | None = None


class InspectedMessage(BaseModel):
    """The tokens of one message: its text as it is read by itself, and its media."""

    role: Literal["system", "user", "assistant", "tool"]
    text_tokens: int
    media_tokens: int


class InspectedPrompt(BaseModel):
    """The prompt; the template has what of the tokens no message has, so that all add up."""

    segments: list[PromptSegment]
    tokens: int
    template_tokens: int
    media_tokens: int
    cached_tokens: int
    messages: list[InspectedMessage]


class Inspection(BaseModel):
    """The body of the answer.

    `prompt` is None where the text is far beyond the context: so much is not tokenised.
    `max_tokens` is the limit that would be in force; where the request does not fit, the one that
    it asks for.
    """

    object: Literal["inspection"] = "inspection"
    model: str
    media: list[InspectedMedia]
    prompt: InspectedPrompt | None
    context_length: int
    fits: bool
    tokens_left: int
    max_tokens: int | None
