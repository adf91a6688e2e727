"""Prompt errors: the model, text, images or videos of a request cannot be served."""

from llava_serve.errors.base import BadRequest


class ModelNotFound(BadRequest):
    """Nobody here serves the model."""

    code = "model_not_found"
    status = 404
    remedy = "Ask GET /v1/models for the names that are served."
    user_remedy = "Choose one of the models in the menu."

    def __init__(self, model: str, served: list[str]) -> None:
        known = ", ".join(served) or "none"
        super().__init__(f"the model {model!r} is not served here; served: {known}")
        self.param = "model"


class ContextOverflow(BadRequest):
    """Prompt and answer do not fit into the context."""

    code = "context_length_exceeded"
    remedy = "Shorten the conversation, send fewer pictures, or ask for fewer tokens."
    user_remedy = remedy

    def __init__(self, prompt_tokens: int, max_tokens: int, context_length: int) -> None:
        super().__init__(
            f"the prompt has {prompt_tokens} tokens and {max_tokens} are asked for the answer, "
            f"but the context holds {context_length}"
        )


class TextTooLong(ContextOverflow):
    """A text cannot fit; known before it is tokenised."""

    def __init__(self, length: str, context_length: int) -> None:
        """`length` is what is known of it: bytes, or the least number of tokens."""
        BadRequest.__init__(
            self,
            f"the text has {length}, which cannot fit: the context holds {context_length} tokens",
        )


class MediaNotAccepted(BadRequest):
    """The model takes no images or no video."""

    code = "media_not_accepted"
    remedy = "Choose a model that takes this kind of input, or send text only."
    user_remedy = remedy

    def __init__(self, model: str, kind: str) -> None:
        super().__init__(f"the model {model!r} does not take {kind}")


class MediaCountMismatch(BadRequest):
    """Images and placeholders differ in number."""

    code = "media_count_mismatch"
    remedy = "Put exactly one <image> into the prompt for each picture."
    user_told = "the pictures and the places for them in the question differ in number"
    user_remedy = "Remove the pictures, attach them again, and send the question."

    def __init__(self, images: int, placeholders: int) -> None:
        super().__init__(f"{images} pictures for {placeholders} <image> placeholders")


class MediaUnreadable(BadRequest):
    """The file is no image or video that can be decoded."""

    code = "media_unreadable"
    remedy = (
        "Send a PNG, JPEG, WebP, GIF, BMP, TIFF, HEIC or AVIF picture, or an MP4, MOV, 3GP, WebM, "
        "MKV, AVI or GIF video."
    )
    user_remedy = remedy


class MediaTooLarge(BadRequest):
    """Bytes, pixels, side, ratio or frames are beyond a limit."""

    code = "media_too_large"
    status = 413
    remedy = "Scale the picture down, or shorten the video."
    user_remedy = remedy


class RemoteMediaRefused(BadRequest):
    """A web address may not be fetched."""

    code = "remote_media_refused"
    remedy = "Send the file as a data: URI; for public hosts the worker needs --allow-remote-media."
    user_told = "pictures are not fetched from web addresses"
    user_remedy = "Save the picture, and attach the file itself."
