"""HEIC and AVIF files, which phones make: opened without their EXIF, measured by their AV1 headers.

In these formats boxes of the container say how the image is turned, and their decoders apply
that; the orientation of the EXIF block is a copy that some programs leave behind wrong, and no
viewer asks it. libheif refuses by itself an image that turns out larger than its header says;
the AVIF decoder believes AV1's sequence header, whatever the container says, so it is read here.
"""

import io
import re

import av
from av.container import InputContainer
from PIL.AvifImagePlugin import AvifImageFile
from PIL.ImageFile import ImageFile
from pillow_heif import HeifImageFile

from llava_serve.media.damage import DAMAGE

# An entry of the item list whose type is Exif, in either of its two versions: name, version, flags,
# ID of 2 or 4 bytes, protection index, type.
# Source: ISO/IEC 14496-12:2022, 8.11.6 (ItemInfoEntry); ISO/IEC 23008-12, annex A (type Exif).
_EXIF_ITEM = re.compile(rb"(infe(?:\x02...(?:..){2}|\x03...(?:....)(?:..)))Exif", re.DOTALL)


def open_heic(data: bytes) -> ImageFile:
    """Read the header only; of several images the main one is shown."""
    return HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]


def open_avif(data: bytes) -> ImageFile:
    """Read the header only; of a sequence the first image is shown."""
    return AvifImageFile(io.BytesIO(_without_exif(data)))


def _without_exif(data: bytes) -> bytes:
    """Rename the EXIF item: Pillow writes it anew, and fails where it holds odd values."""
    at = 0
    while at + 8 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name == b"meta":
            box = data[at : at + size] if size >= 8 else data[at:]
            return data[:at] + _EXIF_ITEM.sub(rb"\1free", box) + data[at + len(box) :]
        if size < 8:  # it reaches to the end of the file, or is longer than 4 GB
            break
        at += size
    return data


# Source: AV1 Bitstream & Decoding Process Specification, 5.3 (open bitstream units), 5.5 (header).
_SEQUENCE_HEADER = 1


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """Raises: EOFError."""
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._value >> self._left & ((1 << count) - 1)


def coded_sizes(avif: bytes) -> list[tuple[int, int]]:
    """Return the (width, height) of each coded image in an AVIF file: tiles and transparency too.

    Those that FFmpeg does not find in the container, or whose header cannot be read, are left out.
    """
    found = []
    try:
        with _opened(avif) as container:
            pending = {stream.index for stream in container.streams.video}
            for packet in container.demux():
                if packet.stream.index in pending:
                    pending.remove(packet.stream.index)
                    found.append(_size_in(bytes(packet)))
                if not pending:
                    break
    except DAMAGE:  # the image's own decoder has the last word
        pass
    return [size for size in found if size is not None]


def _opened(avif: bytes) -> InputContainer:
    return av.open(
        io.BytesIO(avif),
        "r",
        format="mov",
        # FFmpeg tries to decode while it opens: with one pixel it gets nowhere.
        options={"max_pixels": "1"},
        container_options={"protocol_whitelist": "none", "enable_drefs": "0"},
        metadata_errors="replace",
    )


def _size_in(obus: bytes) -> tuple[int, int] | None:
    """Read the first sequence header among the open bitstream units of a packet."""
    at = 0
    while at < len(obus):
        head = obus[at]
        at += 2 if head & 4 else 1
        length, shift = len(obus) - at, 0
        if head & 2:
            length = 0
            while at < len(obus) and shift < 56:
                byte, at = obus[at], at + 1
                length, shift = length | (byte & 0x7F) << shift, shift + 7
                if not byte & 0x80:
                    break
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            try:
                return _size(_Bits(obus[at : at + min(length, 1024)]))
            except EOFError:
                return None
        at += length
    return None


def _size(bits: _Bits) -> tuple[int, int]:
    bits.read(4)  # profile, still picture
    if bits.read(1):  # reduced header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = None
    if bits.read(1):  # timing
        bits.read(64)
        if bits.read(1):  # equal intervals
            zeros = 0
            while not bits.read(1):
                zeros += 1
            bits.read(zeros)
        if bits.read(1):  # decoder model
            delay_bits = bits.read(5) + 1
            bits.read(42)
    has_display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits is not None and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_display_delay and bits.read(1):
            bits.read(4)
