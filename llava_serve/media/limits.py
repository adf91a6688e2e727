"""How large a file, a picture and a frame may be; told from sizes alone, before decoding."""

from dataclasses import dataclass

from llava_serve.errors import MediaTooLarge

MAX_SIDE = 20_000  # pixels; beyond it resizing alone costs more than an answer
MAX_RATIO = 100  # longer to shorter side; beyond it the shorter side vanishes when resized


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest file in bytes, largest picture in pixels."""

    file_bytes: int
    pixels: int


def check_bytes(size: int, limit_bytes: int) -> None:
    """Check the size of a file. Raises: MediaTooLarge."""
    if size > limit_bytes:
        raise MediaTooLarge(
            f"the file has {size / 1e6:.1f} MB; at most {limit_bytes / 1e6:g} MB are accepted "
            "(--max-image-mb)"
        )


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Check (width, height).

    Raises:
        MediaTooLarge: too many pixels, too long a side, or too thin a picture.
    """
    width, height = size
    named = f"the picture has {width} x {height} pixels"
    if width * height > limits.pixels:
        raise MediaTooLarge(
            f"{named}; at most {limits.pixels / 1e6:g} megapixels are accepted "
            "(--max-image-megapixels)"
        )
    if max(size) > MAX_SIDE:
        raise MediaTooLarge(f"{named}; a side may have at most {MAX_SIDE}")
    if max(size) > MAX_RATIO * min(size):
        raise MediaTooLarge(
            f"{named}; the longer side may be at most {MAX_RATIO} times the shorter one"
        )
