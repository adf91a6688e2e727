"""A file's first bytes say what it is, and a format that is not read is named rightly."""

import pytest

from llava_serve.media.sniff import sniff


def box(main: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + main + bytes(4) + b"".join(compatible)
    return (4 + len(body)).to_bytes(4, "big") + body + b"\0\0\0\x08mdat" + b"avif"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        *[(box(main), "HEIC") for main in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")],
        (box(b"mif1", b"heic", b"mif1"), "HEIC"),
        (box(b"msf1", b"hevc", b"heic"), "HEIC"),
        (box(b"mif1", b"mif1"), "HEIC"),
        (box(b"mif1", b"avif", b"miaf"), "AVIF"),
        (box(b"avif"), "AVIF"),
        (box(b"avis", b"avif"), "AVIF"),
        (box(b"isom", b"avc1"), "MP4"),
        (box(b"M4V "), "MP4"),
        (box(b"qt  "), "MOV"),
        (b"\0\0\0\x08wide\0\0\1\0mdat", "MOV"),
        (b"\0\0\1\0moov", "MOV"),
        (box(b"3gp5"), "3GP"),
        (box(b"3g2a"), "3GP"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "WEBM"),
        (b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska", "MKV"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (b"RIFF\0\0\0\0WAVEfmt ", "WAV"),
        (b"\xff\x0a\0\0", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x4f\xff\x51\0", "JPEG 2000"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"II*\0", "TIFF"),
        (b"MM\0+", "TIFF"),
    ],
)
def test_a_format_is_told_by_its_first_bytes(data: bytes, name: str) -> None:
    assert sniff(data) == name
