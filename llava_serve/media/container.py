"""Containers of videos and AVIF images, opened by FFmpeg without a look at any other file."""

import io

import av
from av.container import InputContainer

# The demuxer is named by content: FFmpeg's own guess would also take playlists, which name files.
_DEMUXERS = {
    **dict.fromkeys(("MP4", "MOV", "3GP", "AVIF"), "mov"),
    **dict.fromkeys(("WEBM", "MKV"), "matroska"),
    "AVI": "avi",
}


def open_container(data: bytes, kind: str, decoder_options: dict[str, str]) -> InputContainer:
    """Open a file of one of the formats of `sniff`; FFmpeg tries its decoders while it opens.

    Raises:
        FFmpegError: it cannot be read at all.
    """
    return av.open(
        io.BytesIO(data),
        "r",
        format=_DEMUXERS[kind],
        options=decoder_options,
        container_options={"protocol_whitelist": "none", "enable_drefs": "0"},
        metadata_errors="replace",
    )
