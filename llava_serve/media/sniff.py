"""What a file is, told from its first bytes; names and declared types are never asked."""

PICTURES = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
VIDEOS = ("MP4", "WEBM")  # GIF and animated WebP are both

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"\x1a\x45\xdf\xa3", "WEBM"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"{\\rtf", "RTF"),
)
_STILL_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"mif1": "HEIF",
}


def sniff(data: bytes) -> str:
    """Return the name of the format, or what the bytes look like, for an error message."""
    if not data:
        return "nothing at all (0 bytes)"
    if data[:4] == b"RIFF" and len(data) >= 12:
        return {b"WEBP": "WEBP", b"AVI ": "AVI"}.get(data[8:12], "RIFF")
    if data[4:8] == b"ftyp":
        return _STILL_BRANDS.get(data[8:12], "MP4")
    for prefix, name in _PREFIXES:
        if data.startswith(prefix):
            return name
    return _sniff_text(data[:1024])


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
