"""What a decoded picture and a decoded clip are, whoever decoded them."""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright RGB picture.

    `sha256` is the hex digest of its size and pixels: equal pixels, equal digest.
    """

    image: Image.Image
    sha256: str


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames of one video, in order, evenly spaced."""

    frames: tuple[Picture, ...]
