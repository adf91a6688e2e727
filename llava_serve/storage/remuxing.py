"""Remuxing: a video's pictures and sound as they are, in a new file of the same kind."""

import io

import av

from llava_serve.media.container import open_container
from llava_serve.media.video_file import video_stream
from llava_serve.storage.filetypes import BY_FORMAT, FileType
from llava_serve.storage.rendition import LIMIT_PIXELS

_MUXERS = {"mp4": "mp4", "mov": "mov", "3gp": "3gp", "webm": "webm"}
_BOUNDS = {"max_pixels": str(2 * LIMIT_PIXELS)}  # decoders are tried while a file is opened
_KINDS = {filetype.extension: kind for kind, filetype in BY_FORMAT.items()}


def remuxed(data: bytes, filetype: FileType) -> bytes:
    """Copy a video without its title, place, time, chapters, and tracks of anything else.

    What is coded into the pictures and the sound themselves stays.

    Raises:
        MediaUnreadable: there is no picture in it.
        FFmpegError, ValueError: it cannot be copied.
    """
    out = io.BytesIO()
    extension = filetype.extension
    with (
        open_container(data, _KINDS[extension], _BOUNDS) as source,
        av.open(out, "w", format=_MUXERS[extension]) as copy,
    ):
        streams = [video_stream(source), *source.streams.audio[:1]]
        copies = {one.index: copy.add_stream_from_template(one, opaque=True) for one in streams}
        for packet in source.demux(streams):
            if packet.dts is None:  # the empty one behind the last
                continue
            packet.stream = copies[packet.stream.index]
            copy.mux(packet)
    return out.getvalue()
