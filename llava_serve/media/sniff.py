"""What a file is, told from its first bytes; names and declared types are never asked."""

IMAGES = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "HEIC", "AVIF")
VIDEOS = ("MP4", "MOV", "3GP", "WEBM", "MKV", "AVI")  # GIF and animated WebP are both
HEAD_BYTES = 1024  # as many of the first bytes tell every format

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # the form for large files
    (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\1\0", "ICO"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"{\\rtf", "RTF"),
    (b"OggS", "OGG"),
    (b"FLV\1", "FLV"),
    (b"\0\0\1\xba", "MPEG"),
    (b"\0\0\1\xb3", "MPEG"),
    (b"ID3", "MP3"),
    (b"fLaC", "FLAC"),
)
_EBML = b"\x1a\x45\xdf\xa3"
# Brands of ISO base media files. HEIF's two general ones say nothing of how pixels are encoded.
_AVIF = frozenset({b"avif", b"avis"})
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF = frozenset({b"mif1", b"msf1"})
# Boxes that QuickTime files older than brands begin with.
_OLD_MOV = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def sniff(data: bytes) -> str:
    """Return the name of the format, or what the bytes look like, for an error message."""
    if not data:
        return "nothing at all (0 bytes)"
    if data[:4] == b"RIFF" and len(data) >= 12:
        return {b"WEBP": "WEBP", b"AVI ": "AVI", b"WAVE": "WAV"}.get(data[8:12], "RIFF")
    if data[4:8] == b"ftyp":
        return _sniff_brands(data[:HEAD_BYTES])
    if data.startswith(_EBML):
        return "WEBM" if b"\x42\x82\x84webm" in data[:HEAD_BYTES] else "MKV"
    if data[4:8] in _OLD_MOV:
        return "MOV"
    for prefix, name in _PREFIXES:
        if data.startswith(prefix):
            return name
    return _sniff_text(data[:HEAD_BYTES])


def _sniff_brands(head: bytes) -> str:
    """Tell by the main brand, and of a general HEIF brand by those the file is compatible with."""
    main = head[8:12]
    box = head[16 : int.from_bytes(head[:4], "big")]
    if main in _HEIF:
        compatible = {box[at : at + 4] for at in range(0, len(box), 4)}
        return "AVIF" if compatible & _AVIF and not compatible & _HEIC else "HEIC"
    if main in _AVIF:
        return "AVIF"
    if main in _HEIC:
        return "HEIC"
    if main == b"qt  ":
        return "MOV"
    return "3GP" if main[:2] == b"3g" else "MP4"


def _sniff_text(start: bytes) -> str:
    lowered = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in lowered:
        return "SVG"
    if lowered.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "HTML"
    if lowered.startswith(b"<?xml"):
        return "XML"
    if all(byte >= 0x20 or byte in b"\t\n\r" for byte in start):
        return "text"
    return f"unknown data that starts with the bytes {start[:8].hex(' ')}"
